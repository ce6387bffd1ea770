"""This process's end of the links to other processes: which carriers there are, and where the others are looked up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from channels.exceptions import ChannelFull
from channels.layers import InMemoryChannelLayer, channel_layers, get_channel_layer
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import close_old_connections, connections, router

from lightmoon_django.cluster.carriers.layer import LayerCarrier
from lightmoon_django.cluster.carriers.redis import quick
from lightmoon_django.cluster.carriers.unix import UnixCarrier
from lightmoon_django.cluster.cluster import Cluster
from lightmoon_django.cluster.peers import Survey
from lightmoon_django.cluster.route import Carrier
from lightmoon_django.gateway import changes
from lightmoon_django.identity import Endpoint, new_incarnation
from lightmoon_django.persistence.driver import StoreQueue
from lightmoon_django.persistence.nodes import Nodes
from lightmoon_django.persistence.ownconnection import own_connection
from lightmoon_django.persistence.process import this_process
from lightmoon_django.persistence.silence import at_most
from lightmoon_django.runtime.node import Node
from lightmoon_django.storage import DatabaseStorage

logger = logging.getLogger("lightmoon")

USER_PATIENCE = 5.0  # seconds
LOOK_AGAIN = 5.0  # seconds until a blocked loop is looked at again, to see whether it has ended


class Links:
    """The cluster of this process's node, and the next one when the lease has ended. On the node's loop."""

    def __init__(self, roles: Iterable[str] = ()) -> None:
        """`roles` are this process's, see `Placement`."""
        self._roles = frozenset(roles)
        self._node: Node
        self._storage: DatabaseStorage
        self._endpoint: Endpoint | None = None
        self._seen: dict[str, Mapping[int, Endpoint]] = {}  # by database
        self._tasks: set[asyncio.Task[None]] = set()

    def endpoint(self) -> Endpoint | None:
        """How others reach this process; None when they can't. From any thread."""
        found = self._endpoint
        return found._replace(load=self._node.load) if found is not None else None

    def visible(self) -> None:
        """Others can find this process from now on. From any thread."""
        with contextlib.suppress(RuntimeError):  # its loop has ended
            self._node.loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        """Whoever of two becomes visible later finds the other; a look before that might find nobody, for both."""
        if isinstance(self._node.elsewhere, Cluster):
            self._node.elsewhere.look()

    def open(self, node: Node, storage: DatabaseStorage) -> None:
        """Let that node reach others. Without a place for sockets it hosts its actors alone."""
        self._node, self._storage = node, storage
        self._open()

    def lost(self, store: StoreQueue) -> None:
        """In a heartbeat's thread, also while the node stops: nothing of the old incarnation may answer after this."""
        loop, done = self._node.loop, threading.Event()
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._node.distrust_all, store)
            loop.call_soon_threadsafe(self.renew)
            loop.call_soon_threadsafe(done.set)
            while not done.wait(LOOK_AGAIN) and not loop.is_closed():
                pass  # a loop that something blocks must not find the lease renewed when it goes on

    def accompanied(self) -> None:
        """In a heartbeat's thread: other processes are there."""
        with contextlib.suppress(RuntimeError):  # its loop has ended
            self._node.loop.call_soon_threadsafe(self._node.share)

    def renew(self) -> None:
        """Others hold this process for dead: go on under another name."""
        old = self._node.elsewhere
        if not isinstance(old, Cluster) or self._node.stopping:
            return
        self._open()
        old.let_go()
        self._spawn(old.stop())

    def _open(self) -> None:
        me, host = new_incarnation(), this_process().host
        unix, layer = _unix(me, host), _layer(me, self._node.settings.CHANNEL_LAYER)
        carriers: list[Carrier] = [one for one in (unix, layer) if one is not None]  # the preferred one first
        if not carriers:
            self._node.elsewhere = self._endpoint = None
            return
        cluster = Cluster(
            me,
            home=self._node,
            clock=self._node.clock,
            secrets=[django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS],
            carriers=carriers,
            layer=layer,
            query=self._survey,
            load_user=_load_user,
            close_thread=connections.close_all,
            roles=self._roles,
            on_access=changes.apply,
        )
        self._endpoint = Endpoint(
            host,
            unix.socket if unix is not None else "",
            layer.channel if layer is not None else "",
            roles=" ".join(sorted(self._roles)),
            network=me,
        )
        self._node.elsewhere = cluster
        self._spawn(self._start(cluster))

    async def _start(self, cluster: Cluster) -> None:
        try:
            await cluster.start()
        except OSError as error:
            logger.warning("Other processes can't reach this one: %s", error, extra={"action": "links_failed"})
            if self._node.elsewhere is cluster:
                self._node.elsewhere = None
                self._endpoint = Endpoint(this_process().host)  # or others would wait for its links

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _survey(self) -> Survey:
        """In a thread: all living nodes of all databases. What one that is away last told stands meanwhile."""
        whole = True
        for alias in self._storage.aliases:
            try:
                with at_most(own_connection(alias), self._node.settings.LEASE_SECONDS):
                    self._seen[alias] = Nodes(alias).survey()
            except Exception:
                whole = False
                logger.debug("The nodes in %r can't be read now.", alias, exc_info=True)
                connections[alias].close()
        return Survey({incarnation: one for seen in self._seen.values() for incarnation, one in seen.items()}, whole)


def _unix(me: int, host: str) -> UnixCarrier | None:
    try:
        return UnixCarrier(me, host=host)
    except OSError as error:
        logger.warning("Other processes of this host can't be reached: %s", error, extra={"action": "links_failed"})
        return None


def _layer(me: int, alias: str) -> LayerCarrier | None:
    """By way of the channel layer, unless there is none that leaves the process."""
    layer = get_channel_layer(alias) if alias in channel_layers.configs else None
    if layer is None or isinstance(layer, InMemoryChannelLayer):
        return None
    remembered = getattr(layer, "group_expiry", 86_400.0)
    return LayerCarrier(me, quick(layer, ChannelFull), full=ChannelFull, group_expiry=remembered)


def _load_user(key: str) -> Any:
    """In a thread: a user by the key that travels; an anonymous one for who is gone or may not come in any more."""
    if not key:
        return AnonymousUser()
    close_old_connections()
    model = get_user_model()
    with at_most(connections[router.db_for_read(model)], USER_PATIENCE):
        found = model._default_manager.filter(pk=key).first()
    return found if found is not None and found.is_active else AnonymousUser()
