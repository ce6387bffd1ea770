"""Reminders of actors in one process, which all processes look for."""

from __future__ import annotations

import time

import pytest

from tests.cluster.processes import Group

REMINDERS = 30
AHEAD = 6.0  # seconds, in which each process has seen what is due next
APART = 0.1  # seconds between two of them
LATE = 5.0  # seconds past the last one, on a machine that has other things to do


@pytest.mark.slow
def test_a_reminder_fires_in_time_wherever_its_actor_is(group: Group) -> None:
    """B45: whichever process claims it, and however many there are that would have to give it back."""
    owner, *_ = group.start(4)
    began = time.monotonic()
    keys = [owner.do("make_alarm", seconds=AHEAD + n * APART) for n in range(REMINDERS)]
    assert time.monotonic() - began < AHEAD, "they are set before the first one is due"
    time.sleep(began + AHEAD + REMINDERS * APART + LATE - time.monotonic())
    rang = {note for what, note in owner.do("log") if what == "ring"}
    assert set(keys) <= rang
