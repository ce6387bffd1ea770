"""Callers that are not on the node's loop: threads, views, commands."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from channels.exceptions import InvalidChannelLayerError

from lightmoon_django import ref
from lightmoon_django.errors import OutcomeUnknown, Rejected
from lightmoon_django.host import host
from lightmoon_django.identity import Address
from tests.live.models import Tally
from tests.runtime.conftest import held_up

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_plain_thread_asks_without_any_server(real_threads: None) -> None:
    """B68: the node starts in a thread of its own."""
    row = Tally.objects.create()
    assert ref(Tally, row.pk).add.sync(2) == 2
    row.refresh_from_db()
    assert row.count == 2


def test_many_threads_ask_the_same_actor(real_threads: None) -> None:
    """B68: as Celery workers and management commands do."""
    row = Tally.objects.create(count=100)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: ref(Tally, row.pk).add.sync(1), range(40)))
    assert sorted(results) == list(range(101, 141))


def test_a_declared_error_arrives_as_its_own_class(real_threads: None) -> None:
    """B18: in sync code too."""
    row = Tally.objects.create()
    with pytest.raises(Rejected) as caught:
        ref(Tally, row.pk).fail_after_change.sync()
    assert caught.value.code == "refused"


def test_a_fetched_instance_reaches_its_actor(real_threads: None) -> None:
    """B82: its message goes to the actor with its key, not to the copy."""
    row = Tally.objects.create()
    assert row.add.sync(5) == 5
    assert row.count == 0
    assert Tally.objects.get().count == 5


def test_a_template_calls_no_message() -> None:
    """B82: printing attributes of an actor sends nothing."""
    from django.template import Context, Engine

    row = Tally(pk=1, count=3)
    text = Engine().from_string("{{ row.count }}{{ row.add }}{{ row.added }}").render(Context({"row": row}))
    assert text == "3"


def test_a_save_by_this_thread_is_seen_by_its_next_ask(real_threads: None) -> None:
    """B29: the very next one."""
    row = Tally.objects.create()
    assert row.add.sync(1) == 1
    for count in range(100, 110):
        fresh = Tally.objects.get(pk=row.pk)
        fresh.count = count
        fresh.save()
        assert row.add.sync(1) == count + 1


def test_a_loop_that_stands_still_leaves_the_outcome_open(real_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """B52: its caller is told at last, and not that nothing has happened."""
    row = Tally.objects.create()
    assert row.add.sync(1) == 1
    node = host.node
    assert node is not None
    activation = node.find(Address("live.Tally", str(row.pk)))
    assert activation is not None
    goes_on = held_up(monkeypatch, activation, "commit")
    monkeypatch.setattr("lightmoon_django.host.ANSWER_GRACE", 0.5)

    def stall() -> None:
        goes_on.set()
        time.sleep(3.0)

    def when_it_is_stored() -> None:
        while not activation.gate:
            time.sleep(0.01)
        time.sleep(0.1)
        node.loop.call_soon_threadsafe(stall)

    stalling = threading.Thread(target=when_it_is_stored)
    stalling.start()
    with pytest.raises(OutcomeUnknown):
        row.add.options(timeout=1.0).sync(1)
    row.refresh_from_db()
    assert row.count == 2
    stalling.join()


def test_a_process_whose_layer_is_broken_has_no_actors(real_threads: None, settings: Any) -> None:
    """B3: not with the second call either; others could not know of them. When it is mended, it has."""
    row, layers = Tally.objects.create(), settings.CHANNEL_LAYERS
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "no.such.Layer"}}
    for _ in range(2):
        with pytest.raises(InvalidChannelLayerError):
            row.add.sync(1)
    settings.CHANNEL_LAYERS = layers
    assert row.add.sync(1) == 1
    assert host.node is not None
    assert host.node.elsewhere is not None


def test_a_forked_child_drops_the_parents_node(real_threads: None) -> None:
    """B78: in embedded form: it must not share the parent's loop."""
    row = Tally.objects.create()
    row.add.sync(1)
    assert host.node is not None
    kept = host.node, host._storage, host._thread, host._lock, host._end
    host.drop()
    assert host.node is None
    host._node, host._storage, host._thread, host._lock, host._end = kept  # type: ignore[assignment]
    assert threading.active_count() > 1
