"""Checks of what links between processes go by: the channel layer, and whether the database suits several hosts."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from channels import DEFAULT_CHANNEL_LAYER
from channels.layers import channel_layers
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from lightmoon_django import conf
from lightmoon_django.checks.project import actor_aliases
from lightmoon_django.models import Node
from lightmoon_django.persistence.nodes import Nodes
from lightmoon_django.persistence.process import this_process

IN_MEMORY = "channels.layers.InMemoryChannelLayer"
CORE = "RedisChannelLayer"
PUBSUB = "RedisPubSubChannelLayer"
SMALLEST_CAPACITY = 100  # messages; the layer's own default, and a burst of batches to one node
_QUICK_TO_GIVE_UP = 8  # redis-py's version from which a socket is given up after 5 s


def check_layer(**_: Any) -> list[CheckMessage]:
    """The channel layer that links go by, as far as settings say."""
    try:
        settings = conf.settings()
    except (ImproperlyConfigured, TypeError):
        return []  # said elsewhere
    layer = channel_layers.configs.get(settings.CHANNEL_LAYER)
    if layer is None and settings.CHANNEL_LAYER != DEFAULT_CHANNEL_LAYER:
        return [_missing(settings.CHANNEL_LAYER)]
    backend = _backend(layer)
    if backend == IN_MEMORY:
        return list(_alone(settings.CHANNEL_LAYER)) if settings.ROLES else []
    assert layer is not None
    config = layer.get("CONFIG", {})
    found = [*_capacity(settings.CHANNEL_LAYER, config)]
    if backend.endswith(f".{PUBSUB}"):
        found += _pubsub(settings.CHANNEL_LAYER)
    elif backend.endswith(f".{CORE}"):
        found += [*_hosts(settings.CHANNEL_LAYER, config), *_sockets(settings.CHANNEL_LAYER, config)]
    return found


def check_nodes(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Whether the processes that live now can work together. Asks the tables of nodes."""
    hosts = actor_aliases()
    found: list[CheckMessage] = []
    for alias in databases or ():
        if alias in hosts and _has_nodes(alias):
            elsewhere = Nodes(alias).hosts() - {this_process().host, ""}
            if elsewhere:
                found += _several_hosts(alias)
    return found


def _backend(layer: Mapping[str, Any] | None) -> str:
    return str(layer["BACKEND"]) if layer is not None else IN_MEMORY


def _missing(alias: str) -> CheckMessage:
    return Error(
        f"LIGHTMOON['CHANNEL_LAYER'] names {alias!r}, which is not in CHANNEL_LAYERS: no links go by it.",
        hint="Correct the name, or add the layer.",
        id="lightmoon.E030",
    )


def _alone(alias: str) -> Iterator[CheckMessage]:
    yield Warning(
        f"LIGHTMOON['ROLES'] speaks of several processes, but the channel layer {alias!r} is in memory: they find each "
        "other on one machine only.",
        hint="Point CHANNEL_LAYERS at channels_redis.core.RedisChannelLayer, or silence this where all processes are "
        "on one machine.",
        id="lightmoon.W046",
    )


def _hosts(alias: str, config: Mapping[str, Any]) -> Iterator[CheckMessage]:
    if len(config.get("hosts") or ()) > 1:
        yield Warning(
            f"The channel layer {alias!r} has several Redis hosts: what consumers of your own send to a channel by its "
            "plain name goes to any of them, and arrives late or out of order (channels_redis #221). Links choose "
            "theirs by the node's name, so all processes must list the same hosts in the same order.",
            hint="Name one host, or one by Sentinel; or silence this where that order is certain.",
            id="lightmoon.W047",
        )


def _pubsub(alias: str) -> Iterator[CheckMessage]:
    yield Warning(
        f"The channel layer {alias!r} is {PUBSUB}: what is sent to a node while it reconnects is lost without a word, "
        "and nothing bounds what waits in a process.",
        hint=f"Use channels_redis.core.{CORE}; LIGHTMOON['CHANNEL_LAYER'] may name another layer than your consumers'.",
        id="lightmoon.W048",
    )


def _capacity(alias: str, config: Mapping[str, Any]) -> Iterator[CheckMessage]:
    capacity = config.get("capacity", SMALLEST_CAPACITY)
    if capacity < SMALLEST_CAPACITY:
        yield Warning(
            f"The channel layer {alias!r} holds {capacity} messages per channel: links between nodes are full at once, "
            "and wait and send again.",
            hint=f'Set CONFIG["capacity"] to {SMALLEST_CAPACITY} or more, or give links a layer of their own by '
            "LIGHTMOON['CHANNEL_LAYER'].",
            id="lightmoon.W049",
        )


def _sockets(alias: str, config: Mapping[str, Any]) -> Iterator[CheckMessage]:
    """Links wait for two seconds at a time; the layer's other readers don't."""
    hosts = config.get("hosts") or ["redis://localhost:6379"]
    if _redis_version() < _QUICK_TO_GIVE_UP or all(_waits_long(host) for host in hosts):
        return
    yield Warning(
        f"redis-py gives up a socket after 5 s, for which consumers on the channel layer {alias!r} wait at a time: now "
        "and then one of them fails with a timeout. And it opens up to 100 connections, one for each that waits.",
        hint='Name the host as {"address": "redis://…", "socket_timeout": 30, "max_connections": 1000}.',
        id="lightmoon.W056",
    )


def _waits_long(host: Any) -> bool:
    if isinstance(host, str):
        return "socket_timeout=" in host
    return isinstance(host, dict) and ("socket_timeout" in host or "socket_timeout=" in str(host.get("address", "")))


def _redis_version() -> int:
    try:
        return int(importlib.metadata.version("redis").partition(".")[0])
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return 0


def _has_nodes(alias: str) -> bool:
    try:
        return Node._meta.db_table in connections[alias].introspection.table_names()
    except Exception:
        return False  # whatever needs the database next says so better


def _several_hosts(alias: str) -> Iterator[CheckMessage]:
    if connections[alias].vendor == "sqlite":
        yield Warning(
            f"Database {alias!r} is SQLite, and processes of several machines or containers keep actors in it: its "
            "locks don't hold over network file systems, and each machine trusts its own cache.",
            hint="Use PostgreSQL, or run all processes in one container.",
            id="lightmoon.W055",
        )
    try:
        layer = channel_layers.configs.get(conf.settings().CHANNEL_LAYER)
    except (ImproperlyConfigured, TypeError):
        return
    if _backend(layer) == IN_MEMORY:
        yield Warning(
            f"Processes of several machines or containers keep actors in database {alias!r}, but no channel layer "
            "leads from one to another: calls to the others' actors fail.",
            hint="Point CHANNEL_LAYERS at channels_redis.core.RedisChannelLayer in all of them.",
            id="lightmoon.W054",
        )
