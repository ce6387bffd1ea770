"""Turns that commit in a transaction of their own, through Django's save and delete."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import IntegrityError, connections, transaction
from django.db.models.signals import ModelSignal, post_save, pre_save

from lightmoon_django.errors import DeadlineExceeded
from lightmoon_django.persistence import barrier, work
from lightmoon_django.persistence.store import Committed, Failed, Locked, Lost, Missing, UnitOfWork
from tests.app.models import Audited, Counter, Payment, Restaurant, Signalled
from tests.persistence.world import Activation, RowHolder, World


def payments(world: World) -> int:
    return Payment.objects.using(world.alias).count()


def counter_of(world: World, **values: Any) -> Activation:
    return world.node().activate(Counter, world.insert(Counter, **values))[0]


def adder(world: World, amount: int = 1) -> Callable[[Any], None]:
    """A handler that changes its actor and writes another row."""

    def run(instance: Counter) -> None:
        instance.count += amount
        Payment.objects.using(world.alias).create(counter_id=instance.pk, amount=amount)

    return run


def test_user_queries_and_own_changes_commit_together(database: World) -> None:
    """B30."""
    counter = counter_of(database)
    outcome = counter.transact(adder(database, 5))
    assert isinstance(outcome, Committed)
    assert database.stored(Counter, counter.key).count == 5
    assert payments(database) == 1
    assert isinstance(counter.commit(count=6), Committed)


def test_an_exception_undoes_all_and_passes_through(database: World) -> None:
    """B27, B30."""
    counter = counter_of(database)

    def run(instance: Counter) -> None:
        adder(database)(instance)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        counter.transact(run)
    assert payments(database) == 0
    assert database.stored(Counter, counter.key).count == 0


def test_other_instances_are_saved_and_deleted_in_the_same_commit(database: World) -> None:
    """B30: `turn.save` and `turn.delete`."""
    counter = counter_of(database)
    old = Payment.objects.using(database.alias).create(counter_id=counter.key, amount=1)
    new = Payment(counter_id=counter.key, amount=2)
    assert isinstance(counter.transact(lambda instance: {"saves": [new], "deletes": [old]}), Committed)
    assert list(Payment.objects.using(database.alias).values_list("amount", flat=True)) == [2]
    assert old.pk is not None


def test_one_that_can_not_be_saved_fails_all(database: World) -> None:
    """B30."""
    counter = counter_of(database)

    def run(instance: Counter) -> dict[str, Any]:
        instance.count = 5
        return {"saves": [Payment(counter_id=instance.pk, amount=1), Payment(counter_id=instance.pk, amount=None)]}

    assert isinstance(counter.transact(run), Failed)
    assert payments(database) == 0
    assert database.stored(Counter, counter.key).count == 0


def test_a_dangling_key_fails_at_the_commit(database: World) -> None:
    """B26: deferred constraints."""
    counter = counter_of(database)
    outcome = counter.transact(lambda instance: {"saves": [Payment(counter_id=98765, amount=1)]})
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, IntegrityError)
    assert payments(database) == 0


def test_a_block_in_an_on_commit_hook_is_stored_as_a_whole(database: World) -> None:
    """B30: the turn's transaction is over then, and the hook's own one begins."""
    counter = counter_of(database)

    def hook() -> None:
        with transaction.atomic(using=database.alias):
            Payment.objects.using(database.alias).create(counter_id=counter.key, amount=1)
            raise ZeroDivisionError

    def run(instance: Counter) -> None:
        instance.count += 1
        transaction.on_commit(hook, using=database.alias)

    assert isinstance(counter.transact(run), Committed)
    assert database.stored(Counter, counter.key).count == 1
    assert payments(database) == 0


def test_an_on_commit_hook_may_outlast_the_turns_deadline(database: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """B30: it belongs to no turn any more, so its connection is not cut."""
    monkeypatch.setattr(work, "SILENCE", 0.1)
    counter = counter_of(database)

    def hook() -> None:
        time.sleep(0.7)
        Payment.objects.using(database.alias).create(counter_id=counter.key, amount=1)

    def run(instance: Counter) -> None:
        instance.count += 1
        transaction.on_commit(hook, using=database.alias)

    assert isinstance(counter.transact(run, seconds_left=lambda: 0.3), Committed)
    assert payments(database) == 1


def test_an_on_commit_hook_waits_for_the_file_as_the_project_wants(sqlite: World) -> None:
    """B30, §9.8: not only as long as its turn still had."""
    counter = counter_of(sqlite)
    taken, holder = threading.Event(), threading.Thread(target=lambda: hold())

    def hold() -> None:
        with transaction.atomic():
            Payment.objects.count()
            taken.set()
            time.sleep(0.5)
        connections.close_all()

    def hook() -> None:
        holder.start()
        taken.wait(10)
        Payment.objects.create(counter_id=counter.key, amount=1)

    def run(instance: Counter) -> None:
        instance.count += 1
        transaction.on_commit(hook)

    assert isinstance(counter.transact(run, seconds_left=lambda: 0.05), Committed)
    holder.join(10)
    assert payments(sqlite) == 1


def test_an_actor_can_delete_itself(database: World) -> None:
    """§9.16: `turn.delete(self)`."""
    counter = counter_of(database)
    assert counter.transact(lambda instance: {"deletes": [instance]}) == Committed(None)
    assert database.stored(Counter, counter.key) is None
    assert counter.instance.pk is not None


def test_a_node_that_lost_the_row_can_not_write_other_tables(database: World) -> None:
    """B73: the turn's own row is looked at before its first query."""
    counter = counter_of(database)
    database.update(Counter, counter.key, lightmoon_owner=1)
    assert counter.transact(adder(database)) == Lost()
    assert payments(database) == 0


def test_an_outside_write_is_not_overwritten(database: World) -> None:
    """B71."""
    counter = counter_of(database)
    database.update(Counter, counter.key, note="outside")
    assert counter.transact(adder(database)) == Lost()


def test_a_deleted_row_is_missing(database: World) -> None:
    """B29."""
    counter = counter_of(database)
    database.delete(Counter, counter.key)
    assert counter.transact(adder(database)) == Missing()


def test_swallowing_the_refusal_does_not_help(database: World) -> None:
    """B72: user code that catches everything."""
    counter = counter_of(database)
    database.update(Counter, counter.key, note="outside")

    def run(instance: Counter) -> None:
        for _ in range(2):
            with pytest.raises(Exception, match="can't go on"):
                Payment.objects.using(database.alias).count()

    assert counter.transact(run) == Lost()


def test_an_abandoned_turn_can_not_query_or_commit(database: World) -> None:
    """B72: past its deadline."""
    counter = counter_of(database)
    alive = [True]

    def run(instance: Counter) -> None:
        adder(database)(instance)
        alive[0] = False
        Payment.objects.using(database.alias).count()

    with pytest.raises(DeadlineExceeded):
        counter.transact(run, alive=lambda: alive[0])
    assert payments(database) == 0


def test_who_is_refused_right_before_the_commit_rolls_back(database: World) -> None:
    """B72: commit and abandonment meet in one place."""
    counter = counter_of(database)
    assert counter.transact(adder(database), begin_commit=lambda: False) == Lost()
    assert payments(database) == 0
    assert database.stored(Counter, counter.key).count == 0


def test_a_turn_without_queries_sends_none(database: World) -> None:
    """§9.8: it takes no lock, so it can't be refused one."""
    counter = counter_of(database)
    with _writer(database, counter.key):
        assert isinstance(counter.transact(lambda instance: None), Committed)


def test_a_row_that_is_locked_for_too_long_is_locked(database: World) -> None:
    """B70: bounded by the deadline."""
    counter = counter_of(database)
    with _writer(database, counter.key):
        assert counter.transact(adder(database), seconds_left=lambda: 0.05) == Locked()


def test_its_own_row_updated_through_the_orm_comes_back(database: World) -> None:
    counter = counter_of(database)

    def run(instance: Counter) -> None:
        Counter.objects.using(database.alias).filter(pk=instance.pk).update(note="by query")
        instance.count = 3

    outcome = counter.transact(run)
    assert outcome.snapshot == (int(counter.key), 3, "", "by query")
    assert isinstance(counter.commit(count=4), Committed)


def test_a_copy_of_its_own_row_may_be_saved_inside_the_turn(database: World) -> None:
    """It is the same transaction: the row stays this node's, and memory takes in what the row has become."""
    counter = counter_of(database)

    def run(instance: Counter) -> None:
        copy = Counter.objects.using(database.alias).get(pk=instance.pk)
        copy.note = "by a copy"
        copy.save(using=database.alias)
        instance.count = 3

    assert counter.transact(run).snapshot == (int(counter.key), 3, "", "by a copy")
    assert isinstance(counter.commit(count=4), Committed)


def test_deleting_its_own_row_by_a_query_is_refused(database: World) -> None:
    """It says what to use."""
    counter = counter_of(database)

    def run(instance: Counter) -> None:
        Counter.objects.using(database.alias).filter(pk=instance.pk).delete()

    outcome = counter.transact(run)
    assert isinstance(outcome, Failed)
    assert "turn.delete(self)" in str(outcome.error)
    assert database.stored(Counter, counter.key) is not None


def test_nested_blocks_of_user_code_work(database: World) -> None:
    counter = counter_of(database)

    def run(instance: Counter) -> None:
        instance.count = 1
        with transaction.atomic(using=database.alias):
            Payment.objects.using(database.alias).create(counter_id=instance.pk, amount=1)
            transaction.set_rollback(True, using=database.alias)
        with transaction.atomic(using=database.alias):
            Payment.objects.using(database.alias).create(counter_id=instance.pk, amount=2)

    assert isinstance(counter.transact(run), Committed)
    assert list(Payment.objects.using(database.alias).values_list("amount", flat=True)) == [2]


def test_on_commit_hooks_run_after_it_and_their_failure_does_not_undo_it(
    database: World, caplog: pytest.LogCaptureFixture
) -> None:
    counter = counter_of(database)
    seen = []

    def run(instance: Counter) -> None:
        adder(database)(instance)
        transaction.on_commit(lambda: seen.append(database.stored(Counter, counter.key).count), using=database.alias)
        transaction.on_commit(lambda: 1 / 0, using=database.alias)

    assert isinstance(counter.transact(run), Committed)
    assert seen == [1]
    assert "on_commit" in caplog.text


def test_no_connection_stays_behind(database: World) -> None:
    counter = counter_of(database)
    found = []

    def run() -> None:
        found.append(counter.node.store.transact(counter.barrier(lambda: UnitOfWork(counter.instance, {}))))
        found.append(connections[database.alias].connection)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    assert isinstance(found[0], Committed)
    assert found[1] is None


# SQLite's one write lock.


def test_a_turn_takes_the_file_s_lock_at_its_first_query(sqlite: World) -> None:
    """§9.8: not before."""
    counter = counter_of(sqlite)
    other = counter_of(sqlite)

    def run(instance: Counter) -> None:
        assert isinstance(other.commit(count=1), Committed)
        assert not barrier.wrote_in_this_thread()
        instance.count = 1
        Payment.objects.create(counter_id=instance.pk, amount=1)
        assert barrier.wrote_in_this_thread()
        assert other.node.commit(other.write(count=2)) == [Locked()]

    assert isinstance(counter.transact(run), Committed)
    assert not barrier.wrote_in_this_thread()


def test_a_turn_that_only_read_can_let_go(sqlite: World) -> None:
    """§9.8: so that what it asks can commit."""
    counter = counter_of(sqlite)
    other = counter_of(sqlite)

    def run(instance: Counter) -> None:
        assert Payment.objects.count() == 0
        assert not barrier.wrote_in_this_thread()
        barrier.let_go()
        assert isinstance(other.commit(count=1), Committed)
        Payment.objects.create(counter_id=instance.pk, amount=1)
        assert barrier.wrote_in_this_thread()

    assert isinstance(counter.transact(run), Committed)
    assert payments(sqlite) == 1


def test_a_turn_inside_a_block_can_not_let_go(sqlite: World) -> None:
    """§9.8: half of the block would be undone."""
    counter = counter_of(sqlite)

    def run(instance: Counter) -> None:
        with transaction.atomic():
            assert Payment.objects.count() == 0
            assert barrier.wrote_in_this_thread()
        assert not barrier.wrote_in_this_thread()

    assert isinstance(counter.transact(run), Committed)


# Save logic.


def test_an_overridden_save_is_called(database: World) -> None:
    """B37."""
    (audited,) = database.node().activate(Audited, database.insert(Audited, title="First"))
    assert audited.columns.barrier == "Audited overrides save()."

    def run(instance: Audited) -> None:
        instance.title = "Second Title"

    outcome = audited.transact(run)
    assert outcome.snapshot == (int(audited.key), "Second Title", "second-title")
    assert isinstance(audited.transact(lambda instance: setattr(instance, "title", "Third")), Committed)


def test_inherited_tables_are_both_written(database: World) -> None:
    """B37: multi-table inheritance."""
    (restaurant,) = database.node().activate(Restaurant, database.insert(Restaurant, name="Chez", stars=1))

    def run(instance: Restaurant) -> None:
        instance.name, instance.stars = "Chez Nous", 3

    assert isinstance(restaurant.transact(run), Committed)
    row = database.stored(Restaurant, restaurant.key)
    assert (row.name, row.stars) == ("Chez Nous", 3)
    assert isinstance(restaurant.verify(), Committed)
    assert isinstance(restaurant.transact(lambda instance: setattr(instance, "stars", 2)), Committed)


@pytest.mark.parametrize("signal", [pre_save, post_save])
def test_receivers_are_called(database: World, signal: ModelSignal) -> None:
    """B37: and only while they are connected is the class a barrier."""
    (signalled,) = database.node().activate(Signalled, database.insert(Signalled))
    seen = []

    def receiver(instance: Signalled, **_: Any) -> None:
        seen.append(instance.value)

    assert signalled.columns.barrier is None
    with _connected(signal, receiver, sender=Signalled):
        assert "receiver" in (signalled.columns.barrier or "")
        assert isinstance(signalled.transact(lambda instance: setattr(instance, "value", 5)), Committed)
    assert seen == [5]
    assert signalled.columns.barrier is None
    assert database.owner(Signalled, signalled.key) == signalled.node.incarnation
    assert isinstance(signalled.commit(value=6), Committed)


def test_receivers_of_every_model_count_unless_they_are_declared_harmless(sqlite: World) -> None:
    """B37, §9.4."""
    from lightmoon_django.persistence.savelogic import SaveLogic

    def receiver(**_: Any) -> None:
        pass

    path = f"{__name__}.{receiver.__qualname__}"
    with _connected(post_save, receiver):
        assert path in (SaveLogic(Signalled, frozenset()).reason() or "")
        assert SaveLogic(Signalled, frozenset({path})).reason() is None


def test_a_receiver_of_another_model_does_not_count(sqlite: World) -> None:
    from lightmoon_django.persistence.savelogic import SaveLogic

    def receiver(**_: Any) -> None:
        pass

    with _connected(post_save, receiver, sender=Payment):
        assert SaveLogic(Signalled, frozenset()).reason() is None


@contextmanager
def _connected(signal: ModelSignal, receiver: Any, **how: Any) -> Iterator[None]:
    signal.connect(receiver, weak=False, **how)
    try:
        yield
    finally:
        signal.disconnect(receiver, **how)


@contextmanager
def _writer(world: World, key: str) -> Iterator[None]:
    """An outside transaction that holds the row; on SQLite, the file."""
    with RowHolder(world, Counter, key):
        yield


def test_an_abandoned_turn_that_does_not_come_back_gives_its_locks_back(database: World) -> None:
    """B40, B72: its thread can't be stopped, its transaction can."""
    counter = counter_of(database)
    wrote, go_on, alive = threading.Event(), threading.Event(), [True]

    def run(instance: Counter) -> None:
        adder(database)(instance)
        wrote.set()
        go_on.wait(30)

    def stuck() -> None:
        with pytest.raises(Exception, match=r"abandoned|closed|terminat"):
            counter.transact(run, alive=lambda: alive[0], seconds_left=lambda: 0.3)

    thread = threading.Thread(target=stuck)
    thread.start()
    assert wrote.wait(10)
    alive[0] = False
    (fresh,) = _patiently(counter)
    assert isinstance(fresh.commit(count=7), Committed)
    go_on.set()
    thread.join(10)
    assert payments(database) == 0
    assert database.stored(Counter, counter.key).count == 7


def _patiently(counter: Activation) -> list[Activation]:
    """Load it as soon as nobody has it locked."""
    until = time.monotonic() + 10.0
    while counter.node.load(Counter, counter.key) == [Locked()]:
        assert time.monotonic() < until, "The row stayed locked."
    return counter.node.activate(Counter, counter.key)
