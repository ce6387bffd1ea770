"""What clients may know, and the documents made of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from lightmoon_django import codec
from lightmoon_django.actor import registry
from lightmoon_django.proxies import javascript, manifest, openrpc
from lightmoon_django.proxies.manifest import Manifest
from lightmoon_django.proxies.state import view_hints
from tests.app.models import Computed, Member
from tests.proxies.actors import Backstage, Gallery


@pytest.fixture
def shown() -> Manifest:
    return manifest.build([registry.schema_of(Backstage), registry.schema_of(Gallery)])


def test_only_what_is_exposed_is_shown(shown: Manifest) -> None:
    """B18's neighbour: nothing private is named in the manifest, nor in anything that is generated from it."""
    (gallery,) = shown.actors
    assert [message.name for message in gallery.messages] == ["anything", "offer", "visit"]
    assert [event.name for event in gallery.events] == ["sold"]
    assert [field.name for field in gallery.state] == ["name", "until"]
    for text in (repr(shown), javascript.render(shown), json.dumps(openrpc.render(shown, "1"))):
        assert "hidden" not in text
        assert "secret" not in text
        assert "Backstage" not in text


def test_types_are_json_schema_of_what_travels(shown: Manifest) -> None:
    """Decimals are texts, datetimes have their format also where they may be null, refs are keys."""
    messages = {message.name: message for message in shown.actors[0].messages}
    offer, visit, anything = (messages[name] for name in ("offer", "visit", "anything"))
    assert [(one.name, one.required) for one in offer.parameters] == [("bid", True), ("mood", False), ("note", False)]
    assert offer.parameters[0].schema == {"$ref": "#/components/schemas/Bid"}
    assert offer.result == {"type": "array", "items": {"$ref": "#/components/schemas/Bid"}}
    assert shown.definitions["Bid"]["properties"]["amount"] == {"type": "string", "format": "decimal"}
    key = {"type": "string", "x-lightmoon-actor": "actors.Gallery"}
    assert [one.schema for one in visit.parameters] == [
        key,
        {"type": "string", "format": "date-time"},
        {"enum": ["a", "b"]},
    ]
    assert visit.result == key
    assert [one.schema for one in anything.parameters] == [{}, {"type": "string", "format": "uuid"}]
    until = shown.actors[0].state[1].schema
    assert until == {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}


def test_every_kind_of_model_field_has_its_type() -> None:
    names = ("id", "counter", "counter_id", "email", "price", "ratio", "active", "born", "at", "seen", "spent", "token")
    schema: Any = SimpleNamespace(cls=Member, mirror=None, view=(*names, "data", "address", "size"))
    hints = dict(view_hints(schema))
    described, _ = codec.json_schemas(list(hints.values()), lambda cls: {})
    found = zip(hints, described, strict=True)
    types = {name: one.get("type") or [part["type"] for part in one["anyOf"]] for name, one in found}
    nullable = ["string", "null"]
    assert types == {
        "id": "integer", "counter": ["integer", "null"], "counter_id": ["integer", "null"], "email": nullable,
        "price": "string", "ratio": "number", "active": "boolean", "born": nullable, "at": nullable, "seen": nullable,
        "spent": nullable, "token": nullable, "data": nullable, "address": nullable, "size": "integer",
    }  # fmt: skip
    schema = SimpleNamespace(cls=Computed, mirror=None, view=("double",))
    assert dict(view_hints(schema)) == {"double": int}


def test_the_hash_says_what_is_on_the_wire_and_not_how_it_is_explained(shown: Manifest) -> None:
    other = manifest.build([registry.schema_of(Gallery)])
    assert other.schema_hash == shown.schema_hash
    changed = Manifest(actors=shown.actors, definitions={**shown.definitions, "More": {}})
    assert changed.schema_hash != shown.schema_hash
    described = {name: {**one, "description": "Other words."} for name, one in shown.definitions.items()}
    assert Manifest(actors=shown.actors, definitions=described).schema_hash == shown.schema_hash


def test_the_hash_is_the_same_in_every_process() -> None:
    """A cluster's nodes, and a page that was rendered before a restart, agree."""
    code = "import django; django.setup(); from lightmoon_django.proxies import manifest, javascript;"
    code += "print(manifest.schema_hash(), javascript.module().hash)"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "DJANGO_SETTINGS_MODULE": "demo_project.settings"},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(found) == 1


def test_the_openrpc_document_tells_methods_events_and_state(shown: Manifest) -> None:
    document = json.loads(json.dumps(openrpc.render(shown, "v")))
    assert document["openrpc"].startswith("1.")
    assert document["info"]["version"] == "v"
    offer = next(one for one in document["methods"] if one["name"] == "actors.Gallery.offer")
    assert offer["summary"] == "Offer something."
    assert offer["description"].endswith("It may be refused.")
    assert [one["name"] for one in offer["params"]] == ["key", "bid", "mood", "note"]
    assert [one["required"] for one in offer["params"]] == [True, True, False, False]
    assert set(document["components"]["schemas"]) == {"Bid", "Mood"}
    (sold,) = document["x-lightmoon-events"]
    assert (sold["actor"], sold["name"], [one["name"] for one in sold["params"]]) == (
        "actors.Gallery", "sold", ["bid", "to"],
    )  # fmt: skip
    assert list(document["x-lightmoon-state"]["actors.Gallery"]["properties"]) == ["name", "until"]


def test_a_docstring_can_not_break_out_of_its_comment(shown: Manifest) -> None:
    source = javascript.render(shown)
    assert "Shows things. *\\/ alert(1)" in source
    assert source.count("*/") == source.count("/**")


def test_an_app_may_be_called_as_javascript_pleases(shown: Manifest) -> None:
    """A reserved word, or a name that the runtime exports too."""
    (gallery,) = shown.actors
    as_label = {label: manifest.Actor(label=label, name="G", doc="", messages=gallery.messages, events=(), state=())
                for label in ("client", "default", "new")}  # fmt: skip
    source = javascript.render(Manifest(actors=tuple(as_label.values()), definitions={}))
    assert "export { app0 as client };" in source
    assert "export { app1 as default };" in source
    assert "export { LightMoonError, State } from" in source
