"""How much users and addresses may ask for, whatever number of connections they have.

A bucket for each, made when it is first needed; the one that was longest not asked for makes room for a new one, so
that nobody fills the memory with addresses. An address counts when it is a client's own: one of this machine or of a
private network is a proxy's or a neighbour's, and many share it. Behind a proxy a setting names the header that tells
the client's.
"""

from __future__ import annotations

import functools
import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lightmoon_django.gateway.limits import Bucket

if TYPE_CHECKING:
    from lightmoon_django.conf import Settings

KEPT = 100_000  # buckets of a kind
LONGEST = 64  # characters of what a header says instead of an address
NETWORK = 64  # bits of an IPv6 address that name a customer


class Table:
    """Buckets of one kind by key."""

    __slots__ = ("_buckets", "_burst", "_kept", "_monotonic", "_rate", "_what")

    def __init__(self, what: str, rate: float, burst: float, monotonic: Callable[[], float], kept: int = KEPT) -> None:
        """Without a `rate` nothing is limited."""
        self._what = what
        self._rate = rate
        self._burst = burst
        self._monotonic = monotonic
        self._kept = kept
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def of(self, key: str) -> Bucket | None:
        """Its bucket. None: there is no limit, or nobody whom it is for."""
        if not key or not self._rate:
            return None
        found = self._buckets.get(key)
        if found is not None:
            self._buckets.move_to_end(key)
            return found
        found = self._buckets[key] = Bucket(self._rate, self._burst, self._monotonic(), self._what)
        if len(self._buckets) > self._kept:
            self._buckets.popitem(last=False)
        return found

    def take(self, key: str) -> None:
        """Spend one. Raises `Overloaded`."""
        bucket = self.of(key)
        if bucket is not None:
            bucket.take(self._monotonic())

    def check(self, key: str) -> None:
        """Raise `Overloaded` when there is nothing to spend."""
        bucket = self._buckets.get(key)
        if bucket is not None:
            bucket.check(self._monotonic())


class Rates:
    """What a node keeps of users and addresses. On its loop."""

    def __init__(self, settings: Settings, monotonic: Callable[[], float]) -> None:
        self._header = settings.CLIENT_ADDRESS_HEADER.lower().encode("latin1")
        self._field = "HTTP_" + settings.CLIENT_ADDRESS_HEADER.upper().replace("-", "_")  # the same under WSGI
        self.users = Table(
            "calls per second came from this user", settings.USER_RATE_LIMIT, settings.USER_RATE_BURST, monotonic
        )
        self.addresses = Table(
            "calls per second came from this address",
            settings.ADDRESS_RATE_LIMIT,
            settings.ADDRESS_RATE_BURST,
            monotonic,
        )
        self.connections = Table(
            "connections per second came from this address",
            settings.CONNECT_RATE_LIMIT,
            settings.CONNECT_RATE_BURST,
            monotonic,
        )

    def address_of(self, scope: Mapping[str, Any]) -> str:
        """The client's; empty where it isn't known, or is shared by many."""
        told = ""
        if self._header:  # a client may have sent one too; the proxy's is the last
            told = next(
                (text.decode("latin1") for name, text in reversed(scope["headers"]) if name == self._header), ""
            )
        return self._address(told, (scope.get("client") or ("",))[0])

    def address_in(self, meta: Mapping[str, Any]) -> str:
        """Likewise, of a request under WSGI."""
        return self._address(meta.get(self._field, "") if self._header else "", meta.get("REMOTE_ADDR", ""))

    def _address(self, told: str, connected: str) -> str:
        last = told.rpartition(",")[2].strip()
        return _normal(_without_port(last), own=True) if last else _normal(str(connected or ""), own=False)


def _without_port(text: str) -> str:
    """As some proxies add it, another one for each connection: `8.8.8.8:4000`, `[2a00::1]:4000`."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


@functools.lru_cache(1024)
def _normal(text: str, *, own: bool) -> str:
    """One text for what one client has; `own`: a proxy that is trusted says that it is a client's."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return text[:LONGEST] if own else ""
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return str(ipaddress.ip_network((found, NETWORK), strict=False)) if own or found.is_global else ""
        found = found.ipv4_mapped
    return str(found) if own or found.is_global else ""
