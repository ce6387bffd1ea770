"""The generated types, judged by the real TypeScript compiler, and the OpenRPC document by its meta-schema."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from lightmoon_django.actor import registry
from lightmoon_django.proxies import javascript, manifest, openrpc, typescript
from lightmoon_django.proxies.manifest import Manifest
from tests import npm
from tests.proxies import typed

ACTORS = (typed.Studio, typed.Function, typed.any)
OPTIONS = ("--strict", "--noEmit", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler")

HEAD = """
import { typed, client, LightMoonError, State } from "lightmoon";
import { Client } from "lightmoon/client";
import alpine from "lightmoon/alpine";
import { bind } from "lightmoon/bindings";
import type { Color, Page, Point, Shape } from "lightmoon";
const studio: typed.Studio = typed.Studio("1");
async function use() {
"""

RIGHT = """
  const nothing: null = await studio.scalars(1, 1.5, "c", true, null, "aGk=");
  const [amount, took]: [string, string] = await studio.texts("1.50", "2026-01-01T00:00:00Z", "2026-01-01", "…");
  const chosen: Color | 1 | 2 = await studio.choose("red", 2);
  await studio.choose("blue", 1, "a");
  await studio.choose("blue", 1, undefined, { signal: new AbortController().signal });
  const shape: Shape = { name: "s", corners: [{ x: 1 }, { x: 1, y: 2 }] };
  const inner = { type: "circle", radius: 2 } as const;
  const page: Page_Point_ = await studio.draw(shape, { type: "square", side: 1, inner }, [1]);
  const x: number = page.items[0].x + page.total;
  const bag: Record<string, unknown> = await studio.bags(["a"], { a: 1 }, [1, 2], [1, "a", {}]);
  const key: string = await studio.visit(studio, [studio, "2"]);
  const on: boolean = (await studio.words(1, "n", true)).on;
  const kept: boolean = (await studio.delete({ kept: true })).kept;
  const off: () => void = studio.on("drawn", ({ shape, by }, { seq }) => { const n: string = shape.name + by + seq; });
  studio.on("emptied", (data) => Object.keys(data));
  studio.on("reset", ({ reason, state }) => reason + state?.title);
  studio.on("error", (error: LightMoonError) => error.retryAfter);
  const price: string | undefined = studio.state?.price;
  const until: string | null | undefined = studio.getSnapshot()?.until;
  studio.subscribe((state) => { const at: Point | null | undefined = state?.origin; });
  const runs: number = await typed.Function(1n).run();
  const none: undefined = typed.Function(1).state;
  const whatever: typed.any = typed.any(1, new Client({ url: "ws://x/" }));
  if (client.state === State.OPEN) await client.call<number>("typed.Function.run", ["1"]);
  const end: () => void = bind(document, client);
  alpine({});
  const handler = (data: typed.Studio.Events["drawn"], state: typed.Studio.State) => data.shape.name + state.title;
"""

WRONG = {
    "a wrong argument": 'studio.scalars("1", 1, "c", true, null, "");',
    "a missing argument": "studio.scalars(1);",
    "one too many": "typed.Function(1).run(1, 2);",
    "a message that isn't exposed": "studio.hidden();",
    "an actor that there isn't": "typed.Hidden(1);",
    "a number for a decimal": 'studio.texts(1.5, "", "", "");',
    "another member of the enumeration": 'studio.choose("green", 1);',
    "a part that is missing": 'studio.draw({ name: "s" }, { type: "circle", radius: 1 }, [1]);',
    "a union's other tag": 'studio.draw({ name: "", corners: [] }, { type: "square", radius: 1 }, [1]);',
    "a proxy of another actor": "studio.visit(typed.Function(1));",
    "a result of another type": 'const n: number = await studio.visit("1");',
    "an event that there isn't": 'studio.on("painted", () => {});',
    "an event's data of another type": 'studio.on("drawn", ({ by }: { by: number }) => by);',
    "a part of the state that there isn't": "studio.state?.secret;",
    "a state that may be missing": "studio.state.title;",
    "a state that is changed": 'if (studio.state) studio.state.title = "";',
    "a result that isn't awaited": "const n: number = typed.Function(1).run();",
    "a key that is an object": "typed.Studio({});",
}


@pytest.fixture(scope="session")
def compiler(pytestconfig: pytest.Config) -> Path:
    return npm.install(pytestconfig, "typescript@5.9.3")


@pytest.fixture
def shown() -> Manifest:
    return manifest.build([registry.schema_of(cls) for cls in ACTORS])


Compile = Callable[[str], str]


@pytest.fixture
def compile_(compiler: Path, tmp_path: Path, shown: Manifest) -> Compile:
    """Compile a program against the types of `ACTORS`. Answers what the compiler says."""
    (tmp_path / "lightmoon.d.ts").write_text(typescript.render(shown))

    def compile_(program: str) -> str:
        (tmp_path / "program.ts").write_text(program)
        return npm.run(compiler, "tsc", *OPTIONS, tmp_path / "program.ts", tmp_path / "lightmoon.d.ts").stdout

    return compile_


def test_right_uses_compile(compile_: Compile) -> None:
    """All kinds of hints, awkward names, events, state and options."""
    assert compile_(HEAD.replace("Page,", "Page_Point_,") + RIGHT + "}") == ""


def test_wrong_uses_are_type_errors(compile_: Compile) -> None:
    """Each on its line, and nothing else."""
    lines = [f"  {program}" for program in WRONG.values()]
    head = HEAD.replace("Page, ", "").rstrip("\n").splitlines()
    found = compile_("\n".join([*head, *lines, "}"]))
    refused = {int(number) - len(head) - 1 for number in re.findall(r"program\.ts\((\d+),\d+\): error", found)}
    missed = [what for index, what in enumerate(WRONG) if index not in refused]
    assert not missed, f"The compiler takes {missed}.\n{found}"
    assert refused == set(range(len(WRONG))), found


def test_docstrings_are_comments_that_nothing_breaks_out_of(shown: Manifest) -> None:
    source = typescript.render(shown)
    assert "      /**\n       * What travels as a text.\n       *\n       * In both directions.\n       */" in source
    assert "/** Something was drawn. *\\/ */" in source


def test_only_what_is_exposed_is_shown(shown: Manifest) -> None:
    assert "hidden" not in typescript.render(shown)


def test_an_app_may_be_called_as_typescript_pleases(compiler: Path, tmp_path: Path, shown: Manifest) -> None:
    """A reserved word, a name that the runtime exports too, an actor's name, a type's name."""
    labels = ("Point", "Studio", "client", "default", "new", "string")
    actors = tuple(dataclasses.replace(shown.actors[0], label=label) for label in labels)
    (tmp_path / "lightmoon.d.ts").write_text(typescript.render(Manifest(actors=actors, definitions=shown.definitions)))
    (tmp_path / "program.ts").write_text(
        'import { new as fresh, client, Studio, Point, string as text } from "lightmoon";\n'
        'import standard from "lightmoon";\n'
        "for (const app of [fresh, client, Studio, Point, text, standard]) {\n"
        "  const name = Object.values(app).length;\n"
        "}\n"
    )
    done = npm.run(compiler, "tsc", *OPTIONS, tmp_path / "program.ts", tmp_path / "lightmoon.d.ts")
    assert done.stdout == ""


def test_the_command_writes_what_is_served(tmp_path: Path) -> None:
    for option, name, url in (
        ("typescript", "lightmoon.d.ts", "/lightmoon/proxies.d.ts"),
        ("openrpc", "openrpc.json", "/lightmoon/openrpc.json"),
    ):
        call_command("lightmoon_codegen", f"--{option}", "--output", str(tmp_path / "made"), verbosity=0)
        written = (tmp_path / "made" / name).read_text()
        served = Client().get(url).content.decode()
        assert written == served or json.loads(written) == json.loads(served)


def test_the_command_prints_and_leaves_alone_what_is_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("lightmoon_codegen", "--typescript")
    assert capsys.readouterr().out == typescript.declarations()
    for said in ("Wrote", "is up to date"):
        call_command("lightmoon_codegen", "--typescript", "--output", str(tmp_path))
        assert said in capsys.readouterr().out
    with pytest.raises(CommandError, match="--typescript or --openrpc"):
        call_command("lightmoon_codegen")
    with pytest.raises(CommandError, match="--output DIR"):
        call_command("lightmoon_codegen", "--typescript", "--openrpc")


def test_the_types_are_served_beside_the_proxies() -> None:
    proxies = Client().get(f"/lightmoon/proxies.{javascript.module().hash}.js")
    assert proxies["X-TypeScript-Types"] == "/lightmoon/proxies.d.ts"
    response = Client().get(proxies["X-TypeScript-Types"])
    assert response["Content-Type"] == "application/typescript; charset=utf-8"
    assert response.content.decode() == typescript.declarations()
    again = Client().get(proxies["X-TypeScript-Types"], headers={"if-none-match": response["ETag"]})
    assert again.status_code == 304


META = """
const fs = require("node:fs");
const Ajv = require("ajv").default;
const plain = ({ $schema, ...schema }) => schema;
const ajv = new Ajv({ strict: false, validateFormats: false });
ajv.addSchema(plain(require("@json-schema-tools/meta-schema").default), "https://meta.json-schema.tools");
const document = JSON.parse(fs.readFileSync(process.argv[2]));
const valid = ajv.validate(plain(require("@open-rpc/meta-schema").default), document);
if (!valid) console.log(JSON.stringify(ajv.errors, null, 1));
"""


def test_the_openrpc_document_fits_the_meta_schema(
    pytestconfig: pytest.Config, tmp_path: Path, shown: Manifest
) -> None:
    """As published by OpenRPC itself; a document with a fault doesn't fit."""
    where = npm.install(
        pytestconfig, "ajv@8.17.1", "@open-rpc/meta-schema@1.14.9", "@json-schema-tools/meta-schema@1.8.0"
    )
    check = _write(where / "check.js", META)
    document = openrpc.render(shown, "1")
    good = _write(tmp_path / "good.json", json.dumps(document))
    done = npm.run(where, "node", check, good)
    assert (done.stdout, done.stderr) == ("", "")
    document["methods"][0].pop("params")
    bad = _write(tmp_path / "bad.json", json.dumps(document))
    assert "params" in npm.run(where, "node", check, bad).stdout


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
