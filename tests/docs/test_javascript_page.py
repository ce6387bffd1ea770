"""docs/javascript.md: it names what there is."""

from __future__ import annotations

import re
from pathlib import Path

from lightmoon_django.proxies.page import EXTRAS

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "javascript.md").read_text()
STATIC = ROOT / "lightmoon_django" / "static" / "lightmoon_django"
OWN = {"data-lm-entry", "data-lm-key", "data-lm-max"}  # the module's own mark; named beside another's row


def _sources(name: str) -> str:
    return "\n".join((STATIC / module).read_text() for module in EXTRAS[name])


def test_every_attribute_of_the_bindings_is_in_the_table() -> None:
    rows = {
        attribute for row in re.findall(r"^\| (.*?) \|", PAGE, re.M) for attribute in re.findall(r"data-lm[\w-]*", row)
    }
    used = set(re.findall(r"data-lm(?:-[a-z]+)*", _sources("bindings")))
    assert used - OWN == rows


def test_every_extra_and_every_event_is_there() -> None:
    assert set(re.findall(r'lightmoon_js "(\w+)"', PAGE)) == set(EXTRAS)
    told = set(re.findall(r'"(lightmoon:[a-z]+)"', "\n".join(path.read_text() for path in STATIC.rglob("*.js"))))
    assert told <= set(re.findall(r"lightmoon:[a-z]+", PAGE))
