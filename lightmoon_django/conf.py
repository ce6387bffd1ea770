"""The one place that reads settings. Everything else gets them passed in."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`LIGHTMOON = {…}`, every key optional. Durations are seconds or `timedelta`; sizes are bytes."""

    LEASE_SECONDS: float = 5.0
    """How long a node owns its actors without renewing. The longest pause that a node survives."""
    CALL_TIMEOUT: float = 30.0
    """The deadline of an ask that names none, queueing included."""
    ACTIVATE_TIMEOUT: float = 10.0
    """How long loading may take, and `on_activate` after it, before waiting callers get an error."""
    IDLE_AFTER: float = 300.0
    """An activation that nobody called for this long leaves memory."""
    MAILBOX_LIMIT: int = 1000
    """Messages waiting for one actor; the next is answered with `Overloaded`."""
    MAILBOX_BYTES: int = 16 * 1024 * 1024
    """What the arguments of messages waiting for one actor weigh, likewise. One below 4 KiB is never refused for it."""
    WORKER_THREADS: int = 8
    """`def` messages that run at once on a node."""
    MAX_REQUEST_BYTES: int = 1024 * 1024
    """The largest frame or request body that a client may send."""
    MAX_RESPONSE_BYTES: int = 8 * 1024 * 1024
    """The largest result or state that is sent to a client."""
    OUTBOX_BYTES: int = 1024 * 1024
    """What may wait for a client that reads slowly or is away; beyond it its streams are reset, then it is dropped."""
    RATE_LIMIT: float = 200.0
    """Calls per second from one connection, in the long run. 0 means no limit."""
    RATE_BURST: int = 400
    """Calls that a connection may send at once before the rate applies."""
    USER_RATE_LIMIT: float = 500.0
    """Calls per second from one user over all connections to a node, in the long run. 0 means no limit."""
    USER_RATE_BURST: int = 1000
    """Calls that a user may send at once before that rate applies."""
    ADDRESS_RATE_LIMIT: float = 2000.0
    """Calls and polls per second from one address, likewise. Addresses that aren't public are not limited, but for
    those that `CLIENT_ADDRESS_HEADER` tells."""
    ADDRESS_RATE_BURST: int = 4000
    """Calls and polls that an address may send at once before that rate applies."""
    CONNECT_RATE_LIMIT: float = 20.0
    """WebSockets and event streams per second that one address may open on a node. 0 means no limit."""
    CONNECT_RATE_BURST: int = 200
    """WebSockets and event streams that an address may open at once before that rate applies."""
    CLIENT_ADDRESS_HEADER: str = ""
    """The header in which your proxy tells a client's address, as `X-Forwarded-For`; the last address in it counts.
    Only where all clients come through that proxy, or they could name any."""
    SESSION_GRACE: float = 60.0
    """How long a session lives on without a connection. Calls, subscriptions and what waits for it are kept."""
    HISTORY: int = 256
    """Frames of an actor's stream that are kept for subscribers who come back. Nothing for actors nobody follows."""
    HISTORY_SECONDS: float = 60.0
    """How long such a frame is kept, and how long a stream is recorded after its last subscriber has left."""
    HISTORY_BYTES: int = 256 * 1024
    """What one stream's kept frames may weigh together."""
    HEARTBEAT: float = 25.0
    """How often a client should ping, so that either side notices a dead connection; and how long a poll is parked."""
    PERMISSION_TTL: float = 10.0
    """How long a judgement by permission classes is kept for one session; also how often subscriptions are rejudged."""
    CREDENTIAL_TTL: float = 60.0
    """How long a client's token is trusted before it is looked at again. Django sessions are every `PERMISSION_TTL`."""
    PRESENCE_INTERVAL: float = 1.0
    """How often those who follow an actor are told at most who came and went."""
    PRESENCE_GRACE: float = 5.0
    """How long one who stopped following still counts as there, so that a page that is loaded again doesn't flap."""
    PRESENCE_LIMIT: int = 500
    """Connections of one actor that are listed one by one; while there are more only their number is told."""
    PRESENCE_META_BYTES: int = 256
    """What a client may say of its connection, as JSON. Everybody who follows the actor gets it."""
    MAX_SUBSCRIPTIONS: int = 1000
    """Subscriptions of one session."""
    MAX_SESSIONS: int = 100_000
    """Client sessions of one node, also those without a connection; of these the oldest makes room for a new one."""
    MAX_ACTIVATIONS: int = 1_000_000
    """Actors in one node's memory."""
    CHANNEL_LAYER: str = "default"
    """The alias in `CHANNEL_LAYERS` that links between machines go by. One that is in memory is not used."""
    ROLES: tuple[str, ...] = ()
    """What this process is for, by which `placement=Role(…)` finds it. Without any it has every role; with none but
    "gateway" it hosts no actors."""
    CALL_RETENTION: float = 24 * 3600.0
    """How long the answer of a `once` call is kept for those who repeat the call."""
    DEAD_LETTER_ATTEMPTS: int = 5
    """Failed deliveries after which a reminder or a durable tell becomes a dead letter."""
    DEFAULT_PERMISSION_CLASSES: tuple[str, ...] = ("rest_framework.permissions.IsAuthenticated",)
    """Who may send exposed messages and subscribe where the actor doesn't say. Closed to anonymous users."""
    HARMLESS_RECEIVERS: tuple[str, ...] = ()
    """Dotted paths of `pre_save`/`post_save` receivers without a sender that needn't run for an actor's own commits."""


_ROLE = re.compile(r"[A-Za-z0-9_.-]+")
_DURATIONS = frozenset(
    {
        "LEASE_SECONDS",
        "CALL_TIMEOUT",
        "ACTIVATE_TIMEOUT",
        "IDLE_AFTER",
        "SESSION_GRACE",
        "HISTORY_SECONDS",
        "HEARTBEAT",
        "PERMISSION_TTL",
        "CREDENTIAL_TTL",
        "PRESENCE_INTERVAL",
        "PRESENCE_GRACE",
        "CALL_RETENTION",
    }
)


_COUNTS = frozenset(  # with none of these nothing works
    {
        "MAILBOX_LIMIT",
        "WORKER_THREADS",
        "MAX_REQUEST_BYTES",
        "MAX_RESPONSE_BYTES",
        "MAX_SESSIONS",
        "MAX_ACTIVATIONS",
        "DEAD_LETTER_ATTEMPTS",
    }
)


def parse(values: Mapping[str, Any]) -> Settings:
    """Settings from a mapping. Raises `ImproperlyConfigured` for unknown names and values that can't work."""
    known = {field.name: field for field in dataclasses.fields(Settings)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ImproperlyConfigured(
            f"LIGHTMOON has unknown settings: {', '.join(unknown)}. Known are: {', '.join(sorted(known))}."
        )
    return Settings(**{name: _value(name, value, known[name].default) for name, value in values.items()})


def _value(name: str, value: Any, default: Any) -> Any:
    if isinstance(default, str):
        if not isinstance(value, str):
            raise ImproperlyConfigured(f"LIGHTMOON[{name!r}] must be a text, not {value!r}.")
        return value
    if name == "ROLES":
        return _roles(value)
    if isinstance(default, tuple):
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise ImproperlyConfigured(f"LIGHTMOON[{name!r}] must be a list, not {value!r}.")
        return tuple(value)
    if isinstance(value, datetime.timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise ImproperlyConfigured(f"LIGHTMOON[{name!r}] must be a number of at least 0, not {value!r}.")
    if name in _DURATIONS and value == 0:
        raise ImproperlyConfigured(f"LIGHTMOON[{name!r}] must be longer than 0 seconds.")
    if name in _COUNTS and value < 1:
        raise ImproperlyConfigured(f"LIGHTMOON[{name!r}] must be at least 1, not {value!r}.")
    try:
        return type(default)(value)
    except OverflowError:
        raise ImproperlyConfigured(f"LIGHTMOON[{name!r}] can't be infinite.") from None


def is_role(name: Any) -> bool:
    """Whether that can be a role's name: it stands in a list separated by spaces."""
    return isinstance(name, str) and _ROLE.fullmatch(name) is not None


def _roles(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not all(map(is_role, value)):
        raise ImproperlyConfigured(
            f"LIGHTMOON['ROLES'] must be a list of names made of letters, digits, dots, dashes and underscores, "
            f"not {value!r}."
        )
    return tuple(dict.fromkeys(value))


@functools.cache
def settings() -> Settings:
    """The project's settings, read once and again after `override_settings`."""
    from django.conf import settings as django_settings

    return parse(getattr(django_settings, "LIGHTMOON", {}))


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "LIGHTMOON":
        settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="lightmoon.conf")
