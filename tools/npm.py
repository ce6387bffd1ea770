"""The runtime as a package for npm: `make npm` puts it into `dist/npm`.

It is named as the import map of `{% lightmoon_js %}` names it, so that code which imports "lightmoon/client" runs in a
page, in a bundler and in Node alike.
"""

from __future__ import annotations

import configparser
import json
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "lightmoon_django" / "static" / "lightmoon_django"
TARGET = ROOT / "dist" / "npm"
ENTRY = "index.js"
EXTRAS = ("alpine", "bindings", "devtools", "htmx")  # each of which does something when it is imported

README = """# LightMoon's client

Live actors of a Django project, called as if they were here. See docs/javascript.md of lightmoon-django.

```js
import { Client, actor } from "lightmoon/client";

const client = new Client({ url: "wss://example.org/lightmoon/ws" });
const room = actor("chat.Room", { say: ["text"] })("42", client);
room.subscribe((state) => console.log(state));
await room.say("hi");
```

Node needs version 22, whose `WebSocket` is global; older ones pass one: `new Client({ url, WebSocket })`.
"""


def manifest(version: str) -> dict[str, object]:
    """The package.json."""
    entry = {"types": "./index.d.ts", "default": f"./{ENTRY}"}
    extras = {f"./{name}": {"types": f"./{name}.d.ts", "default": f"./{name}.js"} for name in EXTRAS}
    return {
        "name": "lightmoon",
        "version": version,
        "description": "Live actors of a Django project, called as if they were here.",
        "license": "BSD-3-Clause",
        "type": "module",
        "exports": {".": entry, "./client": entry, **extras, "./package.json": "./package.json"},
        "sideEffects": [f"./{name}.js" for name in EXTRAS],
        "engines": {"node": ">=22"},
        "keywords": ["django", "actors", "realtime", "websocket", "json-rpc"],
    }


def build(target: Path = TARGET) -> Path:
    """Make the folder anew."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(SOURCE, target, ignore=shutil.ignore_patterns("devtools"))  # the panel is Django's page
    shutil.copy(ROOT / "LICENSE", target)
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    (target / "README.md").write_text(README)
    (target / "package.json").write_text(json.dumps(manifest(setup["metadata"]["version"]), indent=2) + "\n")
    return target


if __name__ == "__main__":
    sys.stdout.write(f"{build()}\n")
