"""The package for npm, and how large the runtime is."""

from __future__ import annotations

import configparser
import gzip
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.browser import node
from tests.browser.demo import ROOT
from tools import npm

BUDGET = 12_000  # bytes of the runtime, minified and compressed

IMPORTS = """
const [one, two] = [await import("lightmoon"), await import("lightmoon/client")];
if (one.client !== two.client) throw new Error("The runtime was loaded twice.");
const extras = {};
for (const name of ["alpine", "bindings", "devtools", "htmx"]) {
  extras[name] = Object.keys(await import(`lightmoon/${name}`)).sort();
}
const client = new one.Client({ url: "ws://127.0.0.1:9/lightmoon/ws", timeout: 0.05 });
const failure = await client.call("chat.Room.say", { key: "1" }).catch((error) => error);
client.close();
const { default: { version } } = await import("lightmoon/package.json", { with: { type: "json" } });
console.log(JSON.stringify({ names: Object.keys(one).sort(), extras, failure: failure.type, version }));
"""


@node.needed
def test_the_package_is_imported_by_its_name_in_node(tmp_path: Path) -> None:
    """As bundlers and Node resolve it; no module needs a page to be loaded."""
    npm.build(tmp_path / "node_modules" / "lightmoon")
    (tmp_path / "run.mjs").write_text(IMPORTS)
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert node.start(tmp_path, "run.mjs") == {
        "names": ["Client", "LightMoonError", "State", "actor", "client"],
        "extras": {
            "alpine": ["default", "install"],
            "bindings": ["bind"],
            "devtools": ["watch"],
            "htmx": ["refresh", "register"],
        },
        "failure": "unavailable",
        "version": setup["metadata"]["version"],
    }


def test_the_package_has_every_file_that_it_names(tmp_path: Path) -> None:
    """Types included; and nothing of a page that shouldn't go out."""
    folder = npm.build(tmp_path / "lightmoon")
    package = json.loads((folder / "package.json").read_text())
    named = [file for one in package["exports"].values() for file in ([one] if isinstance(one, str) else one.values())]
    assert all((folder / file).is_file() for file in [*named, *package["sideEffects"], "LICENSE", "README.md"])
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {".js", ".ts", ".json", ".md", ""}


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_npm_itself_packs_it(tmp_path: Path) -> None:
    """What would be published."""
    folder = npm.build(tmp_path / "lightmoon")
    done = subprocess.run(
        ["npm", "pack", "--dry-run", "--json"], cwd=folder, capture_output=True, text=True, check=True
    )
    packed = json.loads(done.stdout)
    files = {one["path"] for one in (packed[0] if isinstance(packed, list) else next(iter(packed.values())))["files"]}
    assert {"index.js", "index.d.ts", "transports/websocket.js", "bindings/render.js", "package.json"} <= files


@node.needed
def test_the_runtime_is_small(packages: Path) -> None:
    """What every page loads: one bundle, minified by esbuild and compressed by gzip."""
    command = ["node", str(packages / "esbuild" / "bin" / "esbuild"), "--bundle", "--minify", "--format=esm"]
    found = subprocess.run([*command, str(npm.SOURCE / npm.ENTRY)], capture_output=True, check=True).stdout
    size = len(gzip.compress(found, 9))
    print(f"\nThe runtime has {len(found)} bytes minified, {size} of them compressed; its budget is {BUDGET}.")  # noqa: T201
    assert size <= BUDGET
