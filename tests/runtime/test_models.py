"""Every kind of model, end to end: called by its ref, stored, loaded again."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db.models.signals import post_save

from lightmoon_django import ref
from lightmoon_django.errors import InternalError, InvalidParams, Rejected
from lightmoon_django.host import host
from tests.kinds.models import (
    Album,
    Box,
    ByAuto,
    ByCode,
    ByOwner,
    ByText,
    ByUuid,
    Clock,
    Colour,
    Deal,
    DealLog,
    Document,
    Owner,
    Papers,
    Person,
    Priced,
    Shop,
    Visit,
)
from tests.runtime.conftest import World

UTC = datetime.UTC


async def restart(world: World) -> None:
    """All that follows is read from the rows."""
    await host.shut_down()
    assert world.node is not None


async def make(world: World, cls: Any, **values: Any) -> Any:
    assert world.node is not None
    return ref(cls, (await world.db(cls.objects.create, **values)).pk)


# Keys

KEYS: list[Any] = [
    pytest.param(ByAuto, "41", "041", id="BigAutoField"),
    pytest.param(ByUuid, str(uuid.UUID(int=7)), str(uuid.UUID(int=7)).replace("-", ""), id="UUIDField"),
    pytest.param(ByText, "Zoë's room/1?", "x" * 41, id="CharField"),
    pytest.param(ByCode, "ABC-007", "ABC-7", id="custom"),
    pytest.param(ByOwner, "5", "05", id="OneToOneField"),
    pytest.param(Album, "6", "+6", id="inherited"),
]


@pytest.mark.parametrize(("cls", "key", "wrong"), KEYS)
async def test_every_single_column_can_be_the_key(stored: World, cls: Any, key: str, wrong: str) -> None:
    """B7, B8: the row is made on demand, by `async def` and by `def`, found again, and no other spelling is it."""
    assert stored.node is not None
    if cls is ByOwner:
        await stored.db(Person.objects.create, pk=int(key), name="Eva")
    one = ref(cls, key)
    first, second = (one.put, one.put_blocking) if cls is Album else (one.add, one.add_blocking)
    argument = "title" if cls is Album else 1
    answers = await asyncio.gather(*[first(argument) for _ in range(10)])
    assert answers == list(range(1, 11))
    assert await second(argument) == 11
    await restart(stored)
    assert await second(argument) == 12
    assert await first(argument) == 13
    row = await stored.db(cls.objects.get)
    assert str(row.pk) == key
    assert (row.photos if cls is Album else row.count) == 13
    with pytest.raises(InvalidParams):
        ref(cls, wrong)


@pytest.mark.parametrize("cls", [ByUuid, ByCode])
async def test_a_key_is_given_as_its_own_type_too(stored: World, cls: Any) -> None:
    """What the model's field makes of a value is the key."""
    assert stored.node is not None
    value = uuid.UUID(int=9) if cls is ByUuid else cls._meta.pk.to_python("XYZ-012")
    assert await ref(cls, value).add(2) == 2
    assert await ref(cls, str(value)).add(1) == 3


async def test_a_missing_parent_of_a_key_is_the_callers_error(stored: World) -> None:
    """B8, B33: a row that its foreign key forbids can't be made; others can, in the same group."""
    assert stored.node is not None
    await stored.db(Person.objects.create, pk=1, name="Eva")
    answers = await asyncio.gather(ref(ByOwner, 1).add(1), ref(ByOwner, 999).add(1), return_exceptions=True)
    assert answers[0] == 1
    assert isinstance(answers[1], Exception)
    assert await ref(ByOwner, 1).add(1) == 2


# Inheritance and save logic


async def test_a_row_in_two_tables_is_one_actor(stored: World) -> None:
    """B37: both tables are written, and read back."""
    one = await make(stored, Album, title="First", photos=3)
    assert await one.put("Second") == 4
    row = await stored.db(Album.objects.get)
    assert (row.title, row.photos) == ("Second", 4)
    await restart(stored)
    assert await one.put_blocking("Third") == 5
    row = await stored.db(Album.objects.get)
    assert (row.title, row.photos) == ("Third", 5)


async def test_a_save_of_a_child_is_one_of_its_parents_actor(stored: World) -> None:
    """B29: seen by the next turn."""
    assert stored.node is not None
    box = await stored.db(lambda: Box.objects.create(title="First", photos=3))
    one = ref(Album, box.pk)
    assert await one.count() == 3
    box.photos = 5
    await stored.db(box.save)
    assert await one.count() == 5


async def test_a_key_of_another_spelling_names_the_same_row(stored: World) -> None:
    """B29: a `save()` of an object whose key is a text."""
    one = await make(stored, ByUuid, id=uuid.UUID(int=10))
    assert await one.add(1) == 1
    row = ByUuid(pk=uuid.UUID(int=10).hex.upper(), count=50)
    await stored.db(lambda: row.save(force_update=True))
    assert await one.add(0) == 50


async def test_a_save_of_its_own_is_called_with_every_change(stored: World) -> None:
    """B37: one that takes no arguments, for `async def` and for `def`; memory shows what it made."""
    shop = Shop(title="None Yet")
    await stored.db(shop.save)
    assert stored.node is not None
    one = ref(Shop, shop.pk)
    await one.rename("Old Books")
    assert await one.names() == ("Old Books", "old-books")
    await one.rename_blocking("New Books")
    assert await one.names() == ("New Books", "new-books")
    row = await stored.db(Shop.objects.get)
    assert (row.title, row.slug) == ("New Books", "new-books")


@pytest.fixture
def receiver() -> Iterator[Callable[..., None]]:
    """Writes a row of its own with each deal, and refuses some."""

    def log(instance: Deal, created: bool, **_: Any) -> None:
        if not created:
            DealLog.objects.create(deal=instance.pk, amount=instance.amount)
            if instance.amount == 13:
                raise ZeroDivisionError("unlucky")

    post_save.connect(log, sender=Deal)
    yield log
    post_save.disconnect(log, sender=Deal)


async def test_what_a_receiver_writes_is_stored_with_the_turn_or_not_at_all(
    stored: World, receiver: Callable[..., None]
) -> None:
    """B30, B37: one commit; on an error both are undone, in memory as well."""
    one = await make(stored, Deal)
    assert await one.raise_to(5) == 5
    with pytest.raises(InternalError):
        await one.raise_to(13)
    assert await one.current() == 5
    assert await one.raise_to(6) == 6
    logged = await stored.db(lambda: list(DealLog.objects.order_by("pk").values_list("amount", flat=True)))
    assert logged == [5, 6]
    assert (await stored.db(Deal.objects.get)).amount == 6


# Columns


async def test_json_rolls_back_deep_inside(stored: World) -> None:
    """B27."""
    one = await make(stored, Document)
    assert await one.deepen() == 1
    with pytest.raises(Rejected):
        await one.deepen(fail=True)
    assert await one.deepen() == 2
    assert (await stored.db(Document.objects.get)).body == {"a": {"b": [{"n": 0}, {"n": 1}]}}


async def test_choices_are_stored_by_their_value(stored: World) -> None:
    """Enums in, enums out, and plain values after a reload."""
    from tests.kinds.models.fields import Size

    one = await make(stored, Document)
    assert await one.paint(Colour.BLUE, Size.LARGE) == "Blue"
    assert await one.looks() == ("b", 2)
    row = await stored.db(Document.objects.get)
    assert (row.colour, row.size) == ("b", 2)
    await restart(stored)
    assert await one.looks() == ("b", 2)


async def test_a_file_field_keeps_its_name(stored: World) -> None:
    one = await make(stored, Document)
    assert await one.file() == "FieldFile::False"
    assert await one.attach("documents/a.txt") == "documents/a.txt"
    assert await one.file() == "FieldFile:documents/a.txt:True"
    await restart(stored)
    assert await one.file() == "FieldFile:documents/a.txt:True"


async def test_a_related_object_follows_its_key(stored: World) -> None:
    """B27: after a rollback, a change by id, and a reload; never a cached one that no longer fits."""
    one = await make(stored, Document)
    eva, adam = [await stored.db(Owner.objects.create, name=name) for name in ("Eva", "Adam")]
    assert await one.give(eva.pk) == "Eva"
    with pytest.raises(Rejected):
        await one.give(adam.pk, fail=True)
    assert await one.owned_by() == "Eva"
    await one.give_id(adam.pk)
    assert await one.owned_by() == "Adam"
    assert (await stored.db(Document.objects.get)).owner_id == adam.pk
    assert await one.give(None) == ""
    assert await one.owned_by() == ""


async def test_a_related_object_that_gets_its_key_later_in_the_turn_is_stored(stored: World) -> None:
    one = await make(stored, Document)
    await one.give_before_saving("Eva")
    assert (await stored.db(Document.objects.select_related("owner").get)).owner.name == "Eva"
    assert await one.owned_by() == "Eva"


async def test_a_related_object_that_has_no_key_fails_its_turn(stored: World, caplog: pytest.LogCaptureFixture) -> None:
    """B26, B27: without an error the change would be lost."""
    one = await make(stored, Document)
    with pytest.raises(InternalError):
        await one.give_new("Eva")
    assert "has no key yet" in caplog.text
    row = await stored.db(Document.objects.get)
    assert (row.owner_id, row.size) == (None, 1)
    assert not await stored.db(Owner.objects.exists)


async def test_a_dangling_key_fails_its_own_turn(stored: World) -> None:
    """B33: the foreign key is checked at the commit; memory goes back."""
    eva = await stored.db(Owner.objects.create, name="Eva")
    one, other = await make(stored, Document, owner=eva), await make(stored, Document)
    answers = await asyncio.gather(one.give_id(98765), other.give_id(eva.pk), return_exceptions=True)
    assert isinstance(answers[0], Exception)
    assert answers[1] is None
    assert await one.owned_by() == "Eva"


async def test_a_related_object_that_is_deleted_outside_is_gone(stored: World) -> None:
    """B71: SET_NULL of a cascade writes the actor's row; within a second its answers know."""
    eva = await stored.db(Owner.objects.create, name="Eva")
    one = await make(stored, Document, owner=eva)
    assert await one.owned_by() == "Eva"
    await stored.db(eva.delete)
    until = time.monotonic() + 2.0
    while (name := await one.owned_by()) and time.monotonic() < until:
        await asyncio.sleep(0.05)
    assert name == ""


async def test_decimals_and_generated_columns(stored: World) -> None:
    """9.16: what the database computes comes back with the commit, also when turns follow each other closely."""
    one = await make(stored, Priced)
    assert await one.prices() == (decimal.Decimal("0.00"), decimal.Decimal("0.00"))
    assert await one.price(decimal.Decimal("1.005")) == decimal.Decimal("1.005")
    assert await one.prices() == (decimal.Decimal("1.01"), decimal.Decimal("2.02"))
    await asyncio.gather(*[one.price(decimal.Decimal(n)) for n in range(20)])
    assert await one.prices() == (decimal.Decimal("19.00"), decimal.Decimal("38.00"))


async def test_times_that_django_sets(stored: World) -> None:
    """B37: `auto_now` with each change and not without, `auto_now_add` never again."""
    long_ago = datetime.datetime(2020, 1, 1, tzinfo=UTC)
    one = await make(stored, Clock)
    await stored.db(Clock.objects.update, made=long_ago, changed=long_ago)
    assert await one.tick(0) == long_ago
    assert await one.times() == (long_ago, long_ago)
    await one.tick()
    made, changed = await one.times()
    assert made == long_ago
    assert changed > datetime.datetime.now(UTC) - datetime.timedelta(minutes=1)
    row = await stored.db(Clock.objects.get)
    assert (row.made, row.changed, row.ticks) == (made, changed, 1)
    assert row.day == datetime.datetime.now(UTC).date()


async def test_defaults_that_only_the_database_knows(stored: World) -> None:
    """B8: a row made on demand has them in memory at its first message."""
    assert stored.node is not None
    one = ref(Visit, "Rome")
    assert await one.seen() == ("NEW", 7, True)
    assert await one.promote() == 8
    await restart(stored)
    assert await one.promote() == 9
    assert await stored.db(Visit.objects.values_list("rank", flat=True).get) == 9


async def test_arrays_of_postgresql(stored: World) -> None:
    """B27, 9.7: a column that no array of columns can carry."""
    if stored.backend != "postgresql":
        pytest.skip("Only PostgreSQL has arrays.")
    one, other = await make(stored, Papers), await make(stored, Papers)
    await asyncio.gather(*[actor.tag(name) for actor in (one, other) for name in ("a", "b")])
    with pytest.raises(Rejected):
        await one.tag("c", fail=True)
    assert await one.all() == ["a", "b"]
    await restart(stored)
    assert await one.tag("d") == ["a", "b", "d"]
    assert (await stored.db(Papers.objects.get, pk=one.key)).tags == ["a", "b", "d"]
