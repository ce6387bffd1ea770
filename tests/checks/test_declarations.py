"""B66: `manage.py check` names each misuse of the decorators, with a hint."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from django.core.checks import CheckMessage
from django.db import models
from django.db.models.signals import post_save
from rest_framework.permissions import AllowAny, BasePermission, IsAdminUser, IsAuthenticated

from lightmoon_django import Role, actor, checks, event, message
from lightmoon_django.actor import registry
from lightmoon_django.actor.schema import SchemaError
from lightmoon_django.checks import declarations


class Unsendable:
    pass


def ids(found: Iterable[CheckMessage]) -> list[str | None]:
    return sorted(one.id or "" for one in found)


def only(cls: type) -> CheckMessage:
    """The one thing that is wrong with a class. It must come with a hint and name the class."""
    found = declarations.check_actor(cls)
    assert len(found) == 1, found
    assert found[0].hint
    assert found[0].obj is cls
    return found[0]


def test_a_proper_actor_passes() -> None:
    """B66: nothing is said about a class that is right."""

    @actor(view=["title"], permission_classes=[AllowAny])
    class Auction(models.Model):
        title = models.CharField(max_length=50)
        price = models.DecimalField(max_digits=10, decimal_places=2)

        class Meta:
            app_label = "testapp"

        @message(exposed=True)
        async def bid(self, amount: int) -> int:
            return amount

        @event
        def outbid(self, amount: int) -> None:
            """Somebody bid more."""

        async def on_activate(self) -> None:
            pass

    assert declarations.check_actor(Auction) == []


def test_a_hint_that_cannot_be_sent_is_an_error() -> None:
    """B66: an unserialisable hint."""

    @actor
    class Room:
        @message
        async def say(self, what: dict[Unsendable, str]) -> None: ...

    found = only(Room)
    assert found.id == "lightmoon.E001"
    assert "Room.say" in found.msg
    assert "dataclasses" in str(found.hint)


def test_a_parameter_named_key_is_an_error() -> None:
    """B66: `key` names the actor on the wire."""

    @actor
    class Room:
        @message
        async def say(self, key: str) -> None: ...

    found = only(Room)
    assert found.id == "lightmoon.E002"
    assert "Rename" in str(found.hint)


def test_star_parameters_are_an_error() -> None:
    """B66: *args and **kwargs have no names to send."""

    @actor
    class Room:
        @message
        async def say(self, *texts: str) -> None: ...

        @message
        async def shout(self, **options: str) -> None: ...

    assert ids(declarations.check_actor(Room)) == ["lightmoon.E003", "lightmoon.E003"]


def test_hints_that_exist_only_while_type_checking_are_an_error() -> None:
    """B66: a hint that can't be read at run time."""

    @actor
    class Room:
        @message
        async def say(self, what: NotImported) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    found = only(Room)
    assert found.id == "lightmoon.E004"
    assert "TYPE_CHECKING" in str(found.hint)


def test_an_exposed_message_without_hints_is_an_error() -> None:
    """B66: what a client sends would go unchecked."""

    @actor
    class Room:
        @message(exposed=True)
        async def say(self, text, times=1):  # type: ignore[no-untyped-def]
            ...

    found = only(Room)
    assert found.id == "lightmoon.E005"
    assert "text, times, its result" in found.msg


def test_a_private_message_may_do_without_hints() -> None:
    """B66: only what clients reach must be typed."""

    @actor
    class Room:
        @message
        async def say(self, text):  # type: ignore[no-untyped-def]
            ...

    assert declarations.check_actor(Room) == []


def test_an_event_with_a_coroutine_or_a_result_is_an_error() -> None:
    """B66: an event's body never runs."""

    @actor
    class Room:
        @event  # type: ignore[arg-type]
        async def said(self, text: str) -> None: ...

        @event  # type: ignore[arg-type]
        def left(self, name: str) -> int: ...

    assert ids(declarations.check_actor(Room)) == ["lightmoon.E006", "lightmoon.E006"]


def test_views_and_who_sees_them_fit_together() -> None:
    """B66: several views need `view_for`, one list of fields has no use for it, and it is no coroutine."""

    @actor(view={"guest": ["count"], "staff": ["count"]})
    class Undecided:
        count: int = 0

    @actor(view=["count"])
    class Alike:
        count: int = 0

        def view_for(self, user: Any) -> str:
            return "x"

    @actor(view={"guest": ["count"]})
    class Late:
        count: int = 0

        async def view_for(self, user: Any) -> str:
            return "guest"

    @actor
    class Unrelated:
        def view_for(self, user: Any) -> str:
            return "a method of its own"

    for cls, words in ((Undecided, "nothing says who sees which"), (Alike, "all see alike"), (Late, "async def")):
        (found,) = declarations.check_actor(cls)
        assert (found.id, words in found.msg) == ("lightmoon.E007", True)
        assert found.hint
    assert declarations.check_actor(Unrelated) == []


def test_a_view_of_unknown_fields_is_an_error() -> None:
    """B66: the view names what isn't there; the hint says what is."""

    @actor(view=["count", "colour"])
    class Room:
        count: int = 0

        @message
        async def add(self) -> None: ...

    found = only(Room)
    assert found.id == "lightmoon.E007"
    assert "colour" in found.msg
    assert "count" in str(found.hint)


@pytest.mark.parametrize("name", ["save", "pk", "full_clean", "objects"])
def test_a_message_with_the_name_of_a_model_attribute_is_an_error(name: str) -> None:
    """B66: it would replace, or be replaced by, what Django needs."""

    async def send(self: Any) -> None: ...

    send.__name__ = name

    class Meta:
        app_label = "testapp"

    body = {"__module__": __name__, "Meta": Meta, name: message(send)}
    Room = actor(type("Room", (models.Model,), body))

    found = [one for one in declarations.check_actor(Room) if one.id == "lightmoon.E008"]
    assert "every Django model" in found[0].msg
    assert found[0].hint == "Rename the message."


def test_a_message_hidden_by_a_reverse_accessor_is_an_error() -> None:
    """B66: Django puts the accessor over the message without a word."""

    @actor
    class Room(models.Model):
        class Meta:
            app_label = "testapp"

        @message
        async def line_set(self) -> None: ...

    class Line(models.Model):
        room = models.ForeignKey(Room, on_delete=models.CASCADE)

        class Meta:
            app_label = "testapp"

    found = only(Room)
    assert found.id == "lightmoon.E008"
    assert "reverse accessor of Line.room" in found.msg


@pytest.mark.parametrize("name", ["then", "on", "state", "subscribe", "key"])
def test_a_message_with_a_word_of_proxies_is_an_error(name: str) -> None:
    """B66: a proxy with a `then` would look like a promise; the others are its own."""

    async def send(self: Any) -> None: ...

    Room = actor(type("Room", (), {"__module__": __name__, name: message(send)}))
    assert only(Room).id == "lightmoon.E008"


def test_an_event_with_a_word_of_streams_is_an_error() -> None:
    """B66: `on("reset", …)` means something already."""

    @actor
    class Room:
        @event
        def reset(self) -> None: ...

    assert only(Room).id == "lightmoon.E008"


def test_a_hook_that_is_a_message_is_an_error() -> None:
    """B66: it would not be called when the actor is activated."""

    @actor
    class Room:
        @message
        async def on_activate(self) -> None: ...

    assert only(Room).id == "lightmoon.E009"


def test_a_hook_with_parameters_is_an_error() -> None:
    """B66: hooks are called without arguments."""

    @actor
    class Room:
        async def on_subscribe(self, user: str) -> None: ...

    found = only(Room)
    assert found.id == "lightmoon.E010"
    assert "turn.user" in str(found.hint)


@pytest.mark.parametrize("name", ["on_activated", "on_deactivated", "on_subscribed", "on_unsubcribe"])
def test_a_misspelled_hook_is_a_warning(name: str) -> None:
    """B66: it would never be called."""

    async def hook(self: Any) -> None: ...

    Room = actor(type("Room", (), {"__module__": __name__, name: hook}))
    found = only(Room)
    assert found.id == "lightmoon.W001"
    assert "Did you mean on_" in str(found.hint)


def test_a_permission_class_that_cannot_judge_is_an_error() -> None:
    """B66: neither a missing one nor something else."""

    @actor(permission_classes=["nowhere.Permission"])
    class Room:
        @message(exposed=True, permission_classes=[Unsendable])
        async def say(self) -> None: ...

    assert ids(declarations.check_actor(Room)) == ["lightmoon.E011", "lightmoon.E011"]


class Awaited(BasePermission):
    async def has_permission(self, request: Any, view: Any) -> bool:
        return False


class AwaitedOfObjects(BasePermission):
    async def has_object_permission(self, request: Any, view: Any, obj: Any) -> bool:
        return False


@pytest.mark.parametrize(
    ("permission", "found"),
    [
        (Awaited, []),
        (IsAdminUser | IsAuthenticated, []),
        (Awaited | IsAdminUser, ["lightmoon.E011"]),
        (IsAdminUser & (Awaited & IsAuthenticated), ["lightmoon.E011"]),
        (~Awaited, ["lightmoon.E011"]),
        (AwaitedOfObjects, ["lightmoon.E011"]),
    ],
)
def test_a_coroutine_that_nobody_awaits_is_an_error(permission: Any, found: list[str]) -> None:
    """B60, B66: it would be true whatever it says."""

    @actor
    class Room:
        @message(exposed=True, permission_classes=[permission])
        async def say(self) -> None: ...

    assert ids(declarations.check_actor(Room)) == found


def test_permission_classes_on_a_private_message_are_a_warning() -> None:
    """B66: somebody may think that the message is open, or guarded."""

    @actor
    class Room:
        @message(permission_classes=[AllowAny])
        async def say(self) -> None: ...

    found = only(Room)
    assert found.id == "lightmoon.W003"
    assert "exposed=True" in str(found.hint)


@pytest.mark.parametrize(
    ("placement", "hint"),
    [
        ("least-loaded", "'least_loaded'"),
        ("moon", "'local', 'random'"),
        ("role:game", 'Role("game")'),
        (None, "'local', 'random'"),
        (Role("a b"), "letters"),
        (Role("gateway"), "your own"),
        (Role("game", pick="randum"), "'random'"),
    ],
)
def test_a_wrong_placement_is_an_error(placement: Any, hint: str) -> None:
    """B66: a strategy that nobody carries out; without a check the first call says so."""

    @actor(placement=placement)
    class Room:
        @message
        async def say(self) -> None: ...

    found = only(Room)
    assert found.id == "lightmoon.E012"
    assert hint in str(found.hint)
    with pytest.raises(SchemaError, match=r"strategy|role"):
        registry.schema_of(Room)


def test_two_actors_of_one_name_are_an_error() -> None:
    """B66: the wire could not tell them apart."""

    def declare() -> type:
        @actor
        class Room:
            @message
            async def say(self) -> None: ...

        return Room

    assert "lightmoon.E013" in ids(declarations._same_names([declare(), declare()]))


def test_a_model_with_messages_but_without_the_decorator_is_a_warning() -> None:
    """B66: its messages reach nobody."""

    class Room(models.Model):
        class Meta:
            app_label = "testapp"

        @message
        async def say(self) -> None: ...

    assert declarations._has_messages(Room)
    assert declarations.check_forgotten(None) == []  # the installed models are all right


def test_save_logic_is_an_information() -> None:
    """B66: it is honoured, but costs the fast path."""

    @actor
    class Audited(models.Model):
        class Meta:
            app_label = "testapp"

        def save(self, *args: Any, **kwargs: Any) -> None:
            super().save(*args, **kwargs)

    found = only(Audited)
    assert found.id == "lightmoon.I001"
    assert "overrides save()" in found.msg


def test_a_save_receiver_is_an_information() -> None:
    """B66: so is a signal's receiver."""

    @actor
    class Plain(models.Model):
        class Meta:
            app_label = "testapp"

    def receiver(**_: Any) -> None: ...

    post_save.connect(receiver, sender=Plain)
    try:
        assert "post_save receiver" in only(Plain).msg
    finally:
        post_save.disconnect(receiver, sender=Plain)


def test_the_checks_belong_to_django() -> None:
    """B66: `manage.py check` runs them, and those of databases with `--database` only."""
    from django.core.checks.registry import registry

    checks.register()
    assert declarations.check_actors in registry.registered_checks
    assert checks.databases.check_tables in registry.registered_checks
    assert "database" in checks.databases.check_tables.tags  # type: ignore[attr-defined]


def test_options_that_contradict_each_other_are_an_error() -> None:
    """B66: `once` needs a store, and a message that comes back into a turn shares its fate."""

    @actor
    class Kept:
        @message(once=True)
        async def pay(self) -> None: ...

    @actor
    class Threaded:
        @message(reentrant=True)
        def back(self) -> None: ...

    for cls, word in ((Kept, "once"), (Threaded, "reentrant")):
        found = only(cls)
        assert found.id == "lightmoon.E014"
        assert word in found.msg
