"""B66: channel layers and databases that break a cluster."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from django.core.checks import CheckMessage
from django.test import override_settings

from lightmoon_django.checks import layers
from lightmoon_django.identity import new_incarnation
from lightmoon_django.models import Node
from lightmoon_django.persistence.nodes import Nodes
from lightmoon_django.persistence.process import this_process

REDIS = {"address": "redis://localhost:6379", "socket_timeout": 30}


def found_in(backend: str, roles: list[str] | None = None, **config: Any) -> list[CheckMessage]:
    settings = {"CHANNEL_LAYERS": {"default": {"BACKEND": backend, "CONFIG": config}}}
    with override_settings(**settings, LIGHTMOON={"ROLES": roles or []}):
        found = layers.check_layer()
    assert all(one.hint for one in found)
    return found


def ids(found: list[CheckMessage]) -> list[str]:
    return [str(one.id).partition(".")[2] for one in found]


CORE = "channels_redis.core.RedisChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"
MEMORY = "channels.layers.InMemoryChannelLayer"


@pytest.mark.parametrize(
    ("backend", "config", "expected"),
    [
        (CORE, {"hosts": [REDIS]}, []),
        (CORE, {"hosts": [REDIS, REDIS]}, ["W047"]),
        (CORE, {"hosts": [REDIS], "capacity": 10}, ["W049"]),
        (CORE, {"hosts": ["redis://localhost:6379"]}, ["W056"]),
        (CORE, {"hosts": [("localhost", 6379)]}, ["W056"]),
        (CORE, {"hosts": ["redis://localhost:6379?socket_timeout=30"]}, []),
        (CORE, {}, ["W056"]),
        (PUBSUB, {"hosts": [REDIS]}, ["W048"]),
        (MEMORY, {}, []),
    ],
)
def test_what_a_layer_does_to_links_is_said(backend: str, config: dict[str, Any], expected: list[str]) -> None:
    """B66."""
    with mock.patch.object(layers, "_redis_version", return_value=8):
        assert ids(found_in(backend, **config)) == expected


def test_an_older_redis_client_waits_as_long_as_it_must() -> None:
    """B66."""
    with mock.patch.object(layers, "_redis_version", return_value=5):
        assert found_in(CORE, hosts=["redis://localhost:6379"]) == []


def test_roles_without_a_way_between_machines_are_a_warning() -> None:
    """B66: and so are roles without any layer; one machine needs none."""
    assert ids(found_in(MEMORY, roles=["web"])) == ["W046"]
    with override_settings(CHANNEL_LAYERS={}, LIGHTMOON={"ROLES": ["web"]}):
        assert ids(layers.check_layer()) == ["W046"]


@override_settings(LIGHTMOON={"CHANNEL_LAYER": "links"})
def test_a_layer_that_there_is_not_is_an_error() -> None:
    """B66: processes of several machines would not find each other, and nothing would say why."""
    with override_settings(CHANNEL_LAYERS={"default": {"BACKEND": CORE}}):
        assert ids(layers.check_layer()) == ["E030"]
    with override_settings(CHANNEL_LAYERS={"links": {"BACKEND": MEMORY}}):
        assert layers.check_layer() == []


@pytest.mark.django_db
def test_living_nodes_of_another_machine_are_seen() -> None:
    """B66: over SQLite and without a layer both are said; those of this machine and dead ones are nothing."""
    with mock.patch.object(layers, "actor_aliases", return_value={"default"}):
        assert layers.check_nodes(None) == []
        Nodes("default").register(new_incarnation(), 3600.0)
        assert this_process().host
        assert layers.check_nodes(["default"]) == []
        there = new_incarnation()
        Nodes("default").register(there, 3600.0)
        Node.objects.filter(pk=there).update(host="another machine")
        with override_settings(CHANNEL_LAYERS={}):
            assert ids(layers.check_nodes(["default"])) == ["W055", "W054"]
        with override_settings(CHANNEL_LAYERS={"default": {"BACKEND": CORE}}):
            assert ids(layers.check_nodes(["default"])) == ["W055"]
        Nodes("default").leave(there)
        assert layers.check_nodes(["default"]) == []


@pytest.mark.parametrize("roles", ["web", ["a b"], [""], [7]])
def test_roles_that_are_no_list_of_names_are_an_error(roles: Any) -> None:
    """B66."""
    from lightmoon_django.checks import project

    with override_settings(LIGHTMOON={"ROLES": roles}):
        (found,) = project.check_settings()
    assert found.id == "lightmoon.E030"
    assert "ROLES" in found.msg
