"""Processes that die, or are held for dead, while others call their actors."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import time
from collections.abc import Iterator

import psycopg
import pytest

from lightmoon_django.cluster.peers import UNKNOWN
from tests.cluster.processes import Failed, Group


def test_what_was_answered_survives_the_owner(group: Group) -> None:
    """B25, B42: SIGKILL right after the answer; the next call is taken over at once, long before the lease ends."""
    here, there = group.start(2, LEASE_SECONDS="60")
    key = there.make(100)
    assert [here.ask(key, "add") for _ in range(20)] == list(range(101, 121))
    there.kill()
    began = time.monotonic()
    assert here.ask(key, "add", timeout=10) == 121
    assert time.monotonic() - began < 2


def test_calls_in_flight_end_when_the_owner_dies(group: Group) -> None:
    """B42: in OutcomeUnknown soon; those that only read, or are remembered, are repeated instead."""
    here, there = group.start(2, LEASE_SECONDS="60")
    key, other = there.make(), there.make()
    held = here.asking(key, "hold", "x")
    there.until_logged(["holding", "x"])
    queued = [here.asking(key, "add", 1), here.asking(key, "pay", 3, call_id="p"), here.asking(key, "get")]
    looking = here.asking(other, "look", "y")
    there.until_logged(["looking", "y"])
    there.kill()
    began = time.monotonic()
    for call in (held, queued[0]):
        with pytest.raises(Failed, match="OutcomeUnknown"):
            call.result(10)
    assert queued[1].result(10) == 3
    assert queued[2].result(10) == 3
    assert time.monotonic() - began < 2
    here.until_logged(["looking", "y"])
    here.do("open", gate="y")
    assert looking.result(10) == 0


def test_a_paused_node_neither_writes_nor_answers(group: Group) -> None:
    """B31: it is paused past its lease and another takes over; then it resumes, and goes on as a new node."""
    here, there, third = group.start(3, LEASE_SECONDS="1")
    key = there.make()
    assert here.ask(key, "add") == 1
    held = here.asking(key, "hold", "paused", 100)
    there.until_logged(["holding", "paused"])
    there.do("open", gate="paused")
    assert held.result(10) == 101
    there.send(signal.SIGSTOP)
    lost = here.asking(key, "add", 1000, timeout=15)
    with pytest.raises(Failed, match="OutcomeUnknown"):
        lost.result(15)
    assert here.ask(key, "add", timeout=10) == 102
    there.send(signal.SIGCONT)
    there.taken()
    assert third.ask(key, "add", timeout=10) == 103
    assert there.ask(key, "add", timeout=10) == 104  # it knows the new owner
    fresh = there.make()
    assert here.ask(fresh, "add", timeout=10) == 1  # and is known again
    assert third.ask(fresh, "add", timeout=10) == 2
    assert here.ask(key, "get") == 104


def test_a_durable_tell_waits_for_a_node_of_its_version(group: Group) -> None:
    """B50: the receiver is at an older process, which doesn't know the message; that is no word of the receiver's."""
    here, there = group.start(2)
    key, sender = there.make(), here.make()
    there.do("forget_message", actor="live.Tally", message="pay")
    here.ask(sender, "send_pay", key, 5)
    assert here.ask(key, "get") == 0  # behind the tell
    here.until(lambda: here.do("idle"), True)
    assert here.do("outgoing") == ["pay"]


def test_a_tell_of_a_dead_node_still_runs(group: Group) -> None:
    """B22: what another node has accepted from it is not taken back."""
    here, there = group.start(2)
    key = there.make()
    held = there.asking(key, "hold", "z")
    there.until_logged(["holding", "z"])
    assert here.ask(there.make(), "get") == 0
    here.do("tell_in_order", actor="live.Tally", key=key, message="add", items=[5])
    there.until_waiting(key, 1)
    here.kill()
    there.until(lambda: there.do("known"), 0)
    there.do("open", gate="z")
    held.result(10)
    assert there.ask(key, "get") == 6


@contextlib.contextmanager
def _nobody_registers(environment: dict[str, str]) -> Iterator[None]:
    """The table of nodes can be read and not written."""
    if "SERVER_PG" in environment:
        with psycopg.connect(environment["SERVER_PG"]) as connection:
            connection.execute("LOCK TABLE lightmoon_node IN EXCLUSIVE MODE")
            yield
    else:
        with contextlib.closing(sqlite3.connect(environment["SERVER_SQLITE"], isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield


@pytest.mark.slow
def test_a_process_that_registers_late_is_no_stranger_for_good(group: Group) -> None:
    """B42, B68: it says hello before its row is there; others that have waited for that in vain hear it later."""
    (here,) = group.start(1, LEASE_SECONDS="60")
    key = here.make()
    with _nobody_registers(group.environment):
        (there,) = group.start(1, LEASE_SECONDS="60")
        there.until(lambda: there.do("known"), 1)
        time.sleep(UNKNOWN + 2)
    here.until(lambda: here.do("known"), 1)
    assert there.ask(key, "add", timeout=5) == 1
    key = there.make()
    assert here.ask(key, "add", timeout=5) == 1
