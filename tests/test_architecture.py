"""The shape of the package: which wing may know which, and that imports fall downward only.

Imports are read from the source, those inside functions too; only blocks under TYPE_CHECKING don't count, because they
bind nothing at run time.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "lightmoon_django"
ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / PACKAGE).rglob("*.py"))

# From the bottom up. A part may import from its own floor and from those below.
FLOORS = (
    ("errors", "identity", "messages", "clock", "conf", "interpreter", "testrun"),
    ("hints", "unsafe", "codec", "kinds", "fields"),
    ("actor", "models", "client"),
    ("persistence",),
    ("cluster",),
    ("runtime", "proxies"),
    ("actorkinds",),
    ("gateway", "contrib"),
    ("storage", "operations", "links"),
    ("host",),
    ("testing",),
    ("access", "signals", "checks", "asgi", "urls", "templatetags", "management", "migrations", "apps"),
    ("",),  # the package root, which only offers what the parts define
)
FLOOR_OF = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}

ELSEWHERE = ("channels", "rest_framework")  # frameworks beside Django
NEVER = {
    "actor": ("runtime", "persistence", "cluster", "gateway", "proxies", "contrib", "host", "storage", *ELSEWHERE),
    "client": ("actor", "models", "conf", "django"),  # it needs no project
    "runtime": ("gateway", "contrib", "proxies", "host", "storage", "django.db", *ELSEWHERE),
    "gateway": ("runtime", "cluster", "persistence", "storage"),
    "cluster": ("runtime", "gateway", "proxies", "contrib", "host", *ELSEWHERE),
    "persistence": ("runtime", "cluster", "gateway", "proxies", "contrib", "host", *ELSEWHERE),
    "proxies": ("runtime", "persistence", "cluster", "gateway", "host", *ELSEWHERE),
}

# The gateway is handed its way to the node at run time; this one door is opened when a connection comes in.
DOORS = {("gateway", "host"), ("asgi", "gateway")}

# Django's own settings, and who reads which. LightMoon's are read in conf.py alone.
DJANGO_SETTINGS = {
    "conf": {"LIGHTMOON"},
    "actor.registry": {"USE_TZ"},
    "gateway.frames": {"DEBUG"},
    "gateway.admission": {"SESSION_COOKIE_NAME"},
    "gateway.credentials": {"SESSION_ENGINE"},
    "gateway.origin": {"CSRF_TRUSTED_ORIGINS"},
    "gateway.tokens": {"SECRET_KEY", "SECRET_KEY_FALLBACKS"},
    "gateway.users": {"SESSION_COOKIE_NAME", "SESSION_ENGINE"},
    "host": {"DEBUG"},
    "links": {"SECRET_KEY", "SECRET_KEY_FALLBACKS"},
    "checks.project": {"ASGI_APPLICATION"},
    "proxies.devtools": {"DEBUG"},
    "proxies.page": {"DEBUG"},
}


def module_of(path: Path) -> str:
    """The dotted name inside the package; the root itself is the empty text."""
    parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module: str) -> str:
    return module.partition(".")[0]


MODULES = {module_of(path): path for path in SOURCES}


class Imports(ast.NodeVisitor):
    """Absolute names of everything that a module imports."""

    def __init__(self, module: str, path: Path) -> None:
        self.package = [PACKAGE, *module.split(".")] if module else [PACKAGE]
        if path.name != "__init__.py":
            self.package.pop()
        self.found: list[tuple[str, bool]] = []  # with whether it happens when the module is loaded
        self._depth = 0

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" in ast.unparse(node.test):
            for one in node.orelse:
                self.visit(one)
        else:
            self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Import(self, node: ast.Import) -> None:
        self.found += [(alias.name, self._depth == 0) for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = ".".join(self.package[: len(self.package) - node.level + 1]) if node.level else ""
        source = ".".join(filter(None, (base, node.module)))
        for alias in node.names:
            name = f"{source}.{alias.name}"
            self.found.append((name if _is_module(name) else source, self._depth == 0))


def _is_module(name: str) -> bool:
    inner = name.removeprefix(f"{PACKAGE}.")
    return name.startswith(f"{PACKAGE}.") and inner in MODULES


def imports(module: str) -> Iterator[tuple[str, bool]]:
    path = MODULES[module]
    visitor = Imports(module, path)
    visitor.visit(ast.parse(path.read_text()))
    yield from visitor.found


def inner_imports(module: str) -> Iterator[tuple[str, bool]]:
    """What it imports from this package, by names inside the package."""
    for name, at_load in imports(module):
        if name == PACKAGE:
            yield "", at_load
        elif name.startswith(f"{PACKAGE}."):
            yield name.removeprefix(f"{PACKAGE}."), at_load


def test_every_part_has_a_floor() -> None:
    """Design §6: a new part must say where it stands."""
    assert {part_of(module) for module in MODULES} <= set(FLOOR_OF)


@pytest.mark.parametrize("module", MODULES)
def test_imports_fall_downward(module: str) -> None:
    """Design §6: nothing knows what is built on it."""
    part = part_of(module)
    upward = [
        name
        for name, _ in inner_imports(module)
        if FLOOR_OF[part_of(name)] > FLOOR_OF[part] and (part, part_of(name)) not in DOORS
    ]
    assert not upward, f"{module} imports upward: {upward}"


@pytest.mark.parametrize("module", [module for module in MODULES if module])
def test_nothing_imports_the_package_root(module: str) -> None:
    """Design §6: the root is for users; inside, each name comes from where it is defined."""
    assert "" not in {name for name, _ in inner_imports(module)}


@pytest.mark.parametrize("module", [module for module in MODULES if part_of(module) in NEVER])
def test_wings_keep_apart(module: str) -> None:
    """Design §6: the never-list."""
    part = part_of(module)
    for name, _ in imports(module):
        inner = name.removeprefix(f"{PACKAGE}.")
        if (part, part_of(inner)) in DOORS:
            continue
        broken = [one for one in NEVER[part] if inner == one or inner.startswith(f"{one}.")]
        assert not broken, f"{module} imports {name}, but {part} must never know {broken[0]}."


@pytest.mark.parametrize("module", MODULES)
def test_production_code_does_not_know_tests_demo_or_testing(module: str) -> None:
    """Design §6: production code never imports `testing`, and the package neither its tests nor its demo."""
    for name, _ in imports(module):
        assert name.partition(".")[0] not in {"tests", "demo_project", "bench"}, f"{module} imports {name}"
        if part_of(module) != "testing":
            assert name.partition(".")[0] != "pytest", f"{module} imports {name}"
            assert not name.startswith(f"{PACKAGE}.testing"), f"{module} imports {name}"


def test_there_are_no_circles() -> None:
    """Design §6: whichever module is loaded first, all that it needs can be loaded."""
    graph = {module: [name for name, at_load in inner_imports(module) if at_load] for module in MODULES}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, f"A circle: {' → '.join((*way[way.index(module) :], module))}"
        if module not in done:
            for name in graph[module]:
                visit(name, (*way, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


@pytest.mark.parametrize("module", MODULES)
def test_settings_are_read_in_one_place(module: str) -> None:
    """Design §6: LIGHTMOON is read in conf.py alone, and of Django's own settings only those that are listed above."""
    tree = ast.parse(MODULES[module].read_text())
    names = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "django.conf"
        for alias in node.names
    }
    assert set(_read_from(tree, names)) <= DJANGO_SETTINGS.get(module, set())


def _read_from(tree: ast.Module, names: set[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=setting) if name in names:
                yield setting
            case ast.Call(
                func=ast.Name(id="getattr" | "hasattr"), args=[ast.Name(id=name), ast.Constant(setting), *_]
            ) if name in names:
                yield str(setting)


def test_generators_read_the_manifest_only() -> None:
    """Design §6: what is generated comes from the manifest, never from live classes. Only the manifest reads those."""
    for module in MODULES:
        if part_of(module) == "proxies" and module not in {"proxies", "proxies.manifest", "proxies.state"}:
            knows = [name for name, _ in inner_imports(module) if name.startswith("actor")]
            assert not knows, f"{module} imports {knows}"


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_files_stay_readable(path: Path) -> None:
    """Past 400 lines at the latest a second noun hides in a file."""
    assert len(path.read_text().splitlines()) <= 400
