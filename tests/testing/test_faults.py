"""`faults`: what goes wrong on purpose shows as it would in production."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError

from lightmoon_django import ref
from lightmoon_django.errors import DeadlineExceeded, InternalError, OutcomeUnknown
from tests.live.models import Log, Scratch, Tally

Row = Any


@pytest.fixture
def row(alias: str) -> Row:
    return Tally.objects.create(count=1)


def stored(row: Row) -> int:
    return Tally.objects.get(pk=row.pk).count


@pytest.mark.parametrize("name", ["add", "blocking"])
def test_a_failed_commit(row: Row, faults: Any, events: Any, name: str) -> None:
    """B28, B65: the caller gets an error, memory shows what is stored, no event leaves; others are not concerned."""
    other = Tally.objects.create()
    message = getattr(ref(Tally, row.pk), name)
    with faults.fail_commit(row):
        with pytest.raises(InternalError):
            message.sync(5)
        assert row.get.sync() == 1
        assert other.add.sync(1) == 1
    assert (row.get.sync(), stored(row)) == (1, 1)
    assert events.of(row) == []
    assert row.add.sync(1) == 2
    assert stored(row) == 2


def test_a_failed_commit_has_the_error_that_the_test_wants(row: Row, faults: Any, caplog: Any) -> None:
    """B65: in the server's log; callers see none of it."""
    with faults.fail_commit(ref(Tally, row.pk), IntegrityError("twice")), pytest.raises(InternalError) as found:
        row.add.sync(5)
    assert "twice" not in str(found.value)
    assert "IntegrityError: twice" in caplog.text


def test_every_turn_of_a_failed_group_fails(row: Row, faults: Any, settle: Any) -> None:
    """B28, B65: its turns are stored one by one after that, and fail as well."""
    row.get.sync()
    with faults.fail_commit(row):
        for _ in range(5):
            row.add.tell(1)
        settle()
    assert (row.get.sync(), stored(row)) == (1, 1)


@pytest.mark.parametrize("name", ["add", "blocking"])
@pytest.mark.parametrize("kept", [True, False])
def test_a_lost_acknowledgement(row: Row, faults: Any, events: Any, name: str, kept: bool) -> None:
    """B32, B65: the caller can't know; memory goes on from what is stored."""
    with faults.lose_acknowledgement(row, stored=kept), pytest.raises(OutcomeUnknown):
        getattr(ref(Tally, row.pk), name).sync(5)
    expected = 6 if kept else 1
    assert (row.get.sync(), stored(row)) == (expected, expected)
    assert events.of(row) == []
    assert row.add.sync(1) == expected + 1


def test_delayed_commits(row: Row, faults: Any, events: Any, settle: Any) -> None:
    """B25, B65: turns go on, what they say waits."""
    row.get.sync()
    with faults.delay_commits():
        row.add.tell(1)
        row.add.tell(1)
        with pytest.raises(AssertionError, match="gate=2"):
            settle(0.1)
        assert (stored(row), events.of(row)) == (1, [])
    settle()
    assert stored(row) == 3
    assert len(events.of(row)) == 2


def test_commits_that_are_delayed_by_the_clock(row: Row, faults: Any, clock: Any) -> None:
    """B65: `seconds` are the node's."""
    with faults.delay_commits(10):
        row.add.tell(1)
        clock.advance(9)
        assert stored(row) == 1
        clock.advance(2)
        assert stored(row) == 2


def test_a_database_that_is_away(row: Row, faults: Any, settle: Any) -> None:
    """B65: calls wait for it until their deadlines, and those that can't have happened say so."""
    other = Tally.objects.create()
    row.add.sync(1)
    with faults.database_away():
        with pytest.raises(OutcomeUnknown):
            row.add.options(timeout=0.5).sync(5)
        with pytest.raises(DeadlineExceeded, match="did not finish"):
            row.blocking.options(timeout=0.5).sync(5)
        with pytest.raises(DeadlineExceeded, match="did not run"):
            other.add.options(timeout=0.5).sync(5)
    settle()
    assert other.add.sync(1) == 1
    assert row.get.sync() == stored(row)


def test_the_database_comes_back_in_time(row: Row, faults: Any, settle: Any) -> None:
    """B65: then nobody has noticed."""
    row.get.sync()
    with faults.database_away():
        row.add.tell(1)
        with pytest.raises(AssertionError):
            settle(0.05)
    settle()
    assert stored(row) == 2


def test_a_fault_ends_with_its_block(row: Row, faults: Any) -> None:
    """B65: also when the block raises."""
    with pytest.raises(ZeroDivisionError), faults.fail_commit(row), faults.database_away():
        raise ZeroDivisionError
    assert row.add.sync(1) == 2
    assert row.write_log.sync("x") == 1
    assert Log.objects.count() == 1


def test_actors_in_memory_have_no_commits(faults: Any) -> None:
    with pytest.raises(ValueError, match="lives in memory only"), faults.fail_commit(ref(Scratch, "a")):
        pass
