"""Joining a stream, leaving it, and being put out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lightmoon_django.actor import registry
from lightmoon_django.errors import OutcomeUnknown
from lightmoon_django.gateway import registry as live
from lightmoon_django.identity import Address, Position
from lightmoon_django.runtime.node import Node
from tests.cluster.test_mirrors import Desk as Source
from tests.gateway.actors import Cellar, Club, Desk, Foyer, Member, Office, Tally
from tests.gateway.board import Board
from tests.gateway.wire import Wire, eventually

DESK, CLUB, OFFICE, CELLAR = (registry.name_of(cls) for cls in (Desk, Club, Office, Cellar))


async def test_a_subscriber_gets_the_position_and_then_every_event(wire: Wire, board: Board) -> None:
    async with wire:
        found = await wire.call("lm.subscribe", {"actor": DESK, "key": "1"})
        assert found == {"epoch": "e", "seq": 0, "recovered": False, "state": None, "events": []}
        for seq in range(1, 1001):
            board.publish(DESK, "1", seq)
        assert [(await wire.notified("lm.event"))["seq"] for _ in range(1000)] == list(range(1, 1001))


async def test_a_position_is_accepted_and_answered_with_fresh_state(wire: Wire) -> None:
    async with wire:
        params = {"actor": DESK, "key": "1", "since": {"epoch": "old", "seq": 7}}
        assert (await wire.call("lm.subscribe", params))["recovered"] is False


async def test_nothing_comes_after_unsubscribe(wire: Wire, board: Board) -> None:
    async with wire:
        await wire.call("lm.subscribe", [DESK, "1"])
        assert await wire.call("lm.unsubscribe", [DESK, "1"]) is None
        board.publish(DESK, "1", 1)
        await wire.call("lm.ping")
        assert wire.frames == []
        assert await wire.call("lm.unsubscribe", [DESK, "1"]) is None


async def test_a_subscription_that_is_still_queued_can_be_left(wire: Wire, board: Board) -> None:
    board.hold = True
    async with wire:
        wire.ask("lm.subscribe", [DESK, "1"], id="s")
        await wire.call("lm.unsubscribe", [DESK, "1"])
        assert (await wire.answer("s"))["error"]["code"] == -32800
        board.release()
        assert not board.subscribers[Address(DESK, "1")]


async def test_a_disconnect_leaves_every_stream(wire: Wire, board: Board) -> None:
    async with wire:
        await wire.call("lm.subscribe", [DESK, "1"])
        await wire.call("lm.subscribe", [DESK, "2"])
    assert not any(board.subscribers.values())
    assert live.sessions() == ()


async def test_a_stream_that_ends_is_reset_once(wire: Wire, board: Board) -> None:
    async with wire:
        await wire.call("lm.subscribe", [DESK, "1"])
        board.end(DESK, "1", "moved")
        assert await wire.notified("lm.reset") == {"actor": DESK, "key": "1", "reason": "moved"}
        await wire.call("lm.subscribe", [DESK, "1"])
        board.publish(DESK, "1", 1)
        assert (await wire.notified("lm.event"))["seq"] == 1


async def test_a_second_subscription_to_the_same_stream_replaces_the_first(wire: Wire, board: Board) -> None:
    async with wire:
        for _ in range(2):
            await wire.call("lm.subscribe", [DESK, "1"])
        board.publish(DESK, "1", 1)
        await wire.call("lm.ping")
        assert len(wire.frames) == 1


async def test_more_streams_than_allowed_are_refused(settle_board: Callable[..., Board]) -> None:
    settle_board(MAX_SUBSCRIPTIONS=2)
    async with Wire() as wire:
        await wire.call("lm.subscribe", [DESK, "1"])
        await wire.call("lm.subscribe", [DESK, "2"])
        assert (await wire.error("lm.subscribe", [DESK, "3"]))["code"] == 4029
        await wire.call("lm.subscribe", [DESK, "2"])
        await wire.call("lm.unsubscribe", [DESK, "2"])
        await wire.call("lm.subscribe", [DESK, "3"])


async def test_who_cannot_be_told_the_state_does_not_follow(
    settle_board: Callable[..., Board],
) -> None:
    """B21: refused is refused. Who followed before goes on."""
    board = settle_board(MAX_RESPONSE_BYTES=50)
    async with Wire() as wire:
        assert (await wire.error("lm.subscribe", [DESK, "1"]))["code"] == 4013
        assert not board.subscribers[Address(DESK, "1")]
        (session,) = live.sessions()
        assert session.followed == 0
        session.hub.response_limit = 1000
        await wire.call("lm.subscribe", [DESK, "1"])
        session.hub.response_limit = 50
        assert (await wire.error("lm.subscribe", [DESK, "1"]))["code"] == 4013
        board.publish(DESK, "1", 1)
        assert (await wire.notified("lm.event"))["seq"] == 1


async def test_a_subscription_that_is_refused_for_its_id_leaves_nothing_behind(wire: Wire, board: Board) -> None:
    """It counts for nothing, and what was followed before goes on as it was."""
    board.hold = True
    async with wire:
        wire.ask("lm.subscribe", [DESK, "1"], id=7)
        await eventually(lambda: board.posted, "the first one")
        wire.ask("lm.subscribe", [DESK, "2"], id=7)
        assert (await wire.answer(7))["error"]["code"] == -32600
        (session,) = live.sessions()
        assert session.followed == 1


@pytest.mark.parametrize("actor", ["actors.Nothing", "", "object", CELLAR])
async def test_there_is_no_stream_of_what_is_not_for_clients(wire: Wire, board: Board, actor: str) -> None:
    """B20: an actor that exposes nothing looks like none."""
    async with wire:
        assert (await wire.error("lm.subscribe", [actor, "1"]))["code"] == 4004
        assert board.posted == []


@pytest.mark.parametrize(
    "params", [[], {}, [DESK], [DESK, 1], [DESK, ""], {"actor": DESK, "key": "1", "more": 1}, ["x"] * 9]
)
async def test_wrong_params_of_subscribe_are_refused(wire: Wire, board: Board, params: Any) -> None:
    async with wire:
        assert (await wire.error("lm.subscribe", params))["code"] == -32602
        assert board.posted == []


async def test_a_stream_is_closed_to_the_anonymous_by_default(wire: Wire, board: Board) -> None:
    """B60: refused before anything of the actor runs."""
    async with wire:
        assert (await wire.error("lm.subscribe", [OFFICE, "1"]))["code"] == 4003
        assert (await wire.error(f"{OFFICE}.whoami", ["1"]))["code"] == 4003
        assert board.posted == []


async def test_a_permission_class_decides_who_may_listen(wire: Wire, board: Board) -> None:
    """B60: it sees the key."""
    async with wire:
        assert (await wire.error("lm.subscribe", [CLUB, "closed"]))["message"] == "Members only."
        assert await wire.call("lm.subscribe", [CLUB, "1"])
        assert len(board.posted) == 1


async def test_events_stop_when_the_permission_is_withdrawn(
    settle_board: Callable[..., Board], members: type[Member]
) -> None:
    """B60: within `PERMISSION_TTL`; other streams go on."""
    board = settle_board(PERMISSION_TTL=0.05)
    async with Wire() as wire:
        await wire.call("lm.subscribe", [CLUB, "1"])
        await wire.call("lm.subscribe", [DESK, "1"])
        await eventually(lambda: members.asked >= 3, "two passes of the sweep")
        assert wire.frames == []
        members.allowed = False
        assert await wire.notified("lm.reset") == {"actor": CLUB, "key": "1", "reason": "forbidden"}
        board.publish(CLUB, "1", 1)
        board.publish(DESK, "1", 1)
        assert (await wire.notified("lm.event"))["actor"] == DESK


async def test_nobody_is_judged_while_nobody_listens(settle_board: Callable[..., Board]) -> None:
    """An idle session has no timer."""
    settle_board(PERMISSION_TTL=0.01)
    async with Wire() as wire:
        await wire.call("lm.subscribe", [CLUB, "1"])
        await wire.call("lm.unsubscribe", [CLUB, "1"])
        (session,) = live.sessions()
        assert session.hub.sweep._timer is None


async def test_a_session_hears_that_the_server_closes(wire: Wire, board: Board) -> None:
    """B58: and a newcomer is told to come again later."""
    async with wire:
        live.closing("restart", 2.5)
        assert await wire.notified("lm.closing") == {"reason": "restart", "retry_after": 2.5}
        async with Wire() as late:
            assert late.closed == 1013


async def test_more_sessions_than_allowed_are_refused(settle_board: Callable[..., Board]) -> None:
    settle_board(MAX_SESSIONS=1)
    async with Wire() as first:
        async with Wire() as second:
            assert second.closed == 1013
        assert await first.call("lm.ping") is None


async def test_a_stream_that_ends_while_it_is_joined_again_goes_on(wire: Wire, board: Board) -> None:
    """B55: the second subscription is on its way to whatever follows, and its frames come."""
    async with wire:
        await wire.call("lm.subscribe", [DESK, "1"])
        board.hold = True
        wire.ask("lm.subscribe", [DESK, "1"], id="again")
        await eventually(lambda: len(board.posted) == 2, "the second one")
        board.end(DESK, "1", "changed")
        await wire.notified("lm.reset")
        board.release()
        assert "result" in await wire.answer("again")
        board.publish(DESK, "1", 1)
        await wire.notified("lm.event")


async def test_a_stream_that_is_left_while_it_is_joined_again_answers_so(wire: Wire, board: Board) -> None:
    """B55: never a success after which no frame comes."""
    async with wire:
        await wire.call("lm.subscribe", [DESK, "1"])
        board.hold = True
        wire.ask("lm.subscribe", [DESK, "1"], id="again")
        await eventually(lambda: len(board.posted) == 2, "the second one")
        await wire.call("lm.unsubscribe", [DESK, "1"])
        board.release()
        assert "error" in await wire.answer("again")


@pytest.mark.parametrize("again", [False, True])
async def test_a_stream_that_is_joined_after_it_was_given_up_is_left(wire: Wire, board: Board, again: bool) -> None:
    """Its node was silent for too long. Unless the client has asked for it again, which is about to be answered."""
    board.hold = True
    async with wire:
        wire.ask("lm.subscribe", [DESK, "1"], id="s")
        await eventually(lambda: board.posted, "the subscription")
        call: Any = board.posted[0]
        call.reject(OutcomeUnknown("Silence."))
        await wire.answer("s")
        if again:
            wire.ask("lm.subscribe", [DESK, "1"], id="again")
            await eventually(lambda: len(board.posted) == 2, "the second one")
        board.subscribers[call.address][call.subscriber.id] = call.subscriber
        call.joined_late()
        assert bool(board.subscribers[call.address]) is again


async def test_a_stream_that_is_taken_away_while_it_is_joined_again_may_be_joined_anew(
    settle_board: Callable[..., Board],
) -> None:
    """B59: nobody has cancelled the subscription; who were told so would give the stream up, and miss the reset."""
    board = settle_board(OUTBOX_BYTES=5_000)
    async with Wire() as wire:
        await wire.call("lm.subscribe", [DESK, "1"])
        board.hold = True
        wire.ask("lm.subscribe", [DESK, "1"], id="again")
        await eventually(lambda: len(board.posted) == 2, "the second one")
        wire.flowing.clear()
        for seq in range(1, 20):
            board.publish(DESK, "1", seq, "x" * 1000)
        wire.flowing.set()
        error = (await wire.answer("again"))["error"]
        assert (error["data"]["type"], error["data"]["retryable"]) == ("conflict", True)
        assert (await wire.notified("lm.reset"))["reason"] == "overflow"
        board.release()
        await wire.call("lm.ping")
        assert not board.subscribers[Address(DESK, "1")]
        assert await wire.call("lm.subscribe", [DESK, "1"])


@pytest.mark.parametrize("known", [False, True])
async def test_what_is_said_of_a_connection_while_it_joins_is_passed_on_when_it_has(
    wire: Wire, board: Board, known: bool
) -> None:
    """It may have come too late to go with the subscription, which is on its way to another node."""
    foyer = registry.name_of(Foyer)
    async with wire:
        if known:
            await wire.call("lm.subscribe", [foyer, "1"])
        board.hold = True
        wire.ask("lm.subscribe", {"actor": foyer, "key": "1", "meta": {"n": 1}}, id="s")
        for number in (2, 3):
            await wire.call("lm.present", [foyer, "1", {"n": number}])
        assert board.described == []
        board.release()
        await wire.answer("s")
        assert [meta for _, _, meta in board.described] == [{"n": 3}]
        await wire.call("lm.present", [foyer, "1", {"n": 4}])
        assert [meta for _, _, meta in board.described] == [{"n": 3}, {"n": 4}]


async def test_what_is_said_while_joining_again_fails_is_passed_on(wire: Wire, board: Board) -> None:
    foyer = registry.name_of(Foyer)
    async with wire:
        await wire.call("lm.subscribe", [foyer, "1"])
        board.hold = True
        wire.ask("lm.subscribe", [foyer, "1"], id="s")
        await wire.call("lm.present", [foyer, "1", {"n": 1}])
        await wire.call("$/cancelRequest", {"id": "s"})
        assert (await wire.answer("s"))["error"]["code"] == -32800
        assert [meta for _, _, meta in board.described] == [{"n": 1}]


@pytest.mark.django_db(transaction=True)
async def test_a_stream_that_ends_where_it_was_is_left_where_it_is_now(node: Callable[[], Node]) -> None:
    """B38: the actor has come here and was joined here, before it was known that the node is dead where it was."""
    address = Address(registry.name_of(Tally), "1")
    async with Wire() as wire:
        await wire.call("lm.subscribe", list(address))
        (session,) = live.sessions()
        mirrors = Source().mirrors
        mirrors.join(address, 7, Position("0", 0), session, False)
        mirrors.died(7)
        assert (await wire.notified("lm.reset"))["reason"] == "node lost"
    activation = node().find(address)
    assert activation is not None
    assert not activation.subscribed
