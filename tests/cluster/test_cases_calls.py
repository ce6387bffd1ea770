"""Cases of calls on three real processes over PostgreSQL, with each carrier between them."""

from __future__ import annotations

import signal
import time

import pytest

from tests.cluster.nodes import Nodes, WebNode, eventually
from tests.cluster.processes import Failed

ACTIVATE = "activate"


def activations(node: WebNode, key: str) -> int:
    found: int = node.do("log").count([ACTIVATE, key])
    return found


def test_what_was_answered_survives_its_node(nodes: Nodes) -> None:
    """B25: SIGKILL right after the answer reached another node; a third one takes over."""
    with nodes.guest() as guest:
        key = nodes.ledger(guest, 100)
        assert [nodes.here.ask_ledger(key, "add") for _ in range(20)] == list(range(101, 121))
        assert nodes.carrier in guest.do("links")
        assert set(guest.do("links")) <= {nodes.carrier, ""}  # "": an earlier guest, which is gone
        guest.kill()
        assert nodes.third.ask_ledger(key, "get", timeout=15) == 120
        assert nodes.here.ask_ledger(key, "get", timeout=15) == 120  # it, too, has learned of the death
        assert nodes.here.ask_ledger(key, "add") == 121


def test_a_crowd_on_all_nodes_activates_once(nodes: Nodes) -> None:
    """B1, B8: 100 calls at each of three nodes to an actor without a row."""
    key = f"crowd-{nodes.carrier}"
    order = {"actor": "cluster.Ledger", "key": key, "message": "add", "args": [1], "times": 100}
    crowds = [one.begin("ask_many", **order) for one in nodes.members]
    assert sorted(answer for crowd in crowds for answer in crowd.result(20)) == list(range(1, 301))
    assert sum(activations(one, key) for one in nodes.members) == 1
    assert nodes.one("SELECT balance FROM cluster_ledger WHERE name = %s", key) == 300


def test_an_answer_is_given_again_after_a_crash(nodes: Nodes) -> None:
    """B50: a `once` call, repeated at another node after its node was killed, and with other arguments."""
    with nodes.guest() as guest:
        key = nodes.ledger(guest)
        assert nodes.here.ask_ledger(key, "pay", 7, call_id="paid") == 7
        assert guest.ask_ledger(key, "add", 100) == 107
        guest.kill()
        assert nodes.third.ask_ledger(key, "pay", 7, call_id="paid", timeout=15) == 7
        assert nodes.here.ask_ledger(key, "get", timeout=15) == 107
    with pytest.raises(Failed, match="InvalidRequest"):
        nodes.here.ask_ledger(key, "pay", 8, call_id="paid")


def test_a_repeated_call_survives_the_node_that_never_took_it(nodes: Nodes) -> None:
    """B50: two nodes send the same call to a paused one, which is killed; it runs once where it is sent then."""
    with nodes.guest() as guest:
        key = nodes.ledger(guest)
        assert [one.ask_ledger(key, "get") for one in (nodes.here, nodes.third)] == [0, 0]
        guest.send(signal.SIGSTOP)
        calls = [one.asking_ledger(key, "pay", 7, call_id="twice", timeout=15) for one in (nodes.here, nodes.third)]
        for one in (nodes.here, nodes.third):
            one.taken()
        guest.kill()
        assert [call.result(15) for call in calls] == [7, 7]
        assert nodes.there.ask_ledger(key, "get", timeout=15) == 7


def test_plain_messages_keep_their_place_behind_async_ones(nodes: Nodes) -> None:
    """B72, B9: turns whose commits are under way, then a `def` message that looks at the row, all from another node."""
    key = nodes.ledger(nodes.there)
    calls = []
    for number in range(20):
        message = "step_blocking" if number % 5 == 4 else "step"
        calls.append(nodes.here.asking_ledger(key, message, str(number)))
    for call in calls:
        call.result(20)
    steps = [str(number) for number in range(20)]
    assert nodes.one("SELECT steps FROM cluster_ledger WHERE name = %s", key) == steps


def test_a_plain_message_past_its_deadline_is_not_stored(nodes: Nodes) -> None:
    """B72, B40: its caller on another node is answered; what its thread does later leaves no trace."""
    key = nodes.ledger(nodes.there)
    with pytest.raises(Failed, match="DeadlineExceeded"):
        nodes.here.ask_ledger(key, "step_blocking", "late", 0.8, timeout=0.3)
    nodes.here.ask_ledger(key, "step", "next")
    time.sleep(0.8)  # until its thread has ended
    nodes.third.ask_ledger(key, "step", "last")
    assert nodes.one("SELECT steps FROM cluster_ledger WHERE name = %s", key) == ["next", "last"]


BAD = [
    ("write", "a\0b"),
    ("write", "x" * 21),
    ("write", "\ud800"),
    ("arrange", [[1], [2, 3]]),
    ("belong", 999_999),
]


def test_one_bad_value_among_two_hundred_fails_alone(nodes: Nodes) -> None:
    """B74, B33: NUL, overlong text, a lone surrogate, a ragged array and a dangling key, from three nodes at once."""
    keys = [f"crowd-{nodes.carrier}-{number}" for number in range(200)]
    good = [nodes.members[n % 3].asking_ledger(key, "write", f"note {n}") for n, key in enumerate(keys)]
    bad = [
        (nodes.members[n % 3], nodes.members[(n + 1) % 3].asking_ledger(keys[40 * n], *BAD[n])) for n in range(len(BAD))
    ]
    assert [call.result(20) for call in good].count(1) >= 195  # others ran behind a bad one, or ahead of it
    for _, call in bad:
        with pytest.raises(Failed, match=r"InternalError|InvalidParams|Rejected"):
            call.result(20)
    for n, key in enumerate(keys):
        assert nodes.members[(n + 2) % 3].ask_ledger(key, "get") == 1, key
    assert (
        nodes.one("SELECT count(*) FROM cluster_ledger WHERE name LIKE %s AND balance = 1", f"crowd-{nodes.carrier}-%")
        == 200
    )


def test_a_locked_row_holds_up_nobody_else(nodes: Nodes) -> None:
    """B70: an outside transaction holds one actor's row for a while."""
    locked, others = nodes.ledger(nodes.there), [nodes.ledger(nodes.there) for _ in range(5)]
    with nodes.sql() as outside:
        outside.execute("SELECT 1 FROM cluster_ledger WHERE name = %s FOR UPDATE", [locked])
        waiting = nodes.here.asking_ledger(locked, "add", 5)
        hurried = nodes.third.asking_ledger(locked, "add", 1000, timeout=0.5)
        began = time.monotonic()
        while time.monotonic() - began < 2.0:
            for key in others:
                asked = time.monotonic()
                nodes.here.ask_ledger(key, "add")
                assert time.monotonic() - asked < 1.0
        with pytest.raises(Failed, match=r"DeadlineExceeded|OutcomeUnknown") as late:
            hurried.result(5)
        assert not waiting.done()
        outside.rollback()
    balance = waiting.result(10)
    stored = 5 if late.value.kind == "DeadlineExceeded" else 1005  # one that has begun to commit is not taken back
    assert nodes.third.ask_ledger(locked, "get") == stored
    assert balance in (5, stored)
    assert nodes.one("SELECT balance FROM cluster_ledger WHERE name = %s", locked) == stored


def test_an_outside_write_is_seen_by_callers_of_other_nodes(nodes: Nodes) -> None:
    """B71: `QuerySet.update` at one node, raw SQL from elsewhere; another node has the actor, a third one calls it."""
    key = nodes.ledger(nodes.there)
    assert nodes.here.do("write_outside", key=key, values={"note": "updated"}) == 1
    assert nodes.third.ask_ledger(key, "add") == 1  # another column: it must not be overwritten
    assert nodes.third.ask_ledger(key, "note_now") == "updated"
    with nodes.sql() as outside:
        outside.execute("UPDATE cluster_ledger SET balance = 500 WHERE name = %s", [key])
    eventually(lambda: nodes.third.ask_ledger(key, "get") == 500, "the write is seen", patience=1.5)
    assert nodes.here.ask_ledger(key, "add") == 501


def test_a_cascade_is_seen_by_callers_of_other_nodes(nodes: Nodes) -> None:
    """B71, B29: the row goes with the one that it refers to."""
    key = nodes.ledger(nodes.there)
    owner = nodes.one("INSERT INTO cluster_owner (name) VALUES ('somebody') RETURNING id")
    nodes.here.ask_ledger(key, "belong", owner)
    with nodes.sql() as outside:  # as Django's collector does it
        outside.execute("DELETE FROM cluster_ledger WHERE owner_id = %s", [owner])
        outside.execute("DELETE FROM cluster_owner WHERE id = %s", [owner])
    assert nodes.third.ask_ledger(key, "add", 5) == 5  # made anew


def test_two_nodes_that_claim_the_same_rows_share_them_out(nodes: Nodes) -> None:
    """B69: they take over the actors of a dead node, all at once; each has one owner."""
    with nodes.guest() as guest:
        keys = [nodes.ledger(guest) for _ in range(40)]
        guest.kill()
        calls = [one.asking_ledger(key, "get", timeout=15) for key in keys for one in nodes.members]
        assert {call.result(20) for call in calls} == {0}
    calls = [one.asking_ledger(key, "add") for key in keys for one in nodes.members]
    assert sorted(call.result(20) for call in calls) == sorted([1, 2, 3] * len(keys))
    assert [sum(activations(one, key) for one in nodes.members) for key in keys] == [1] * 40


def test_a_late_heartbeat_and_a_takeover_exclude_each_other(unix_nodes: Nodes) -> None:
    """B69: both wait for the row of a node whose lease ends meanwhile; it loses its actors, and learns of it."""
    nodes = unix_nodes
    with nodes.guest(lease="1") as guest:
        key = nodes.ledger(guest)
        owner = nodes.one("SELECT lightmoon_owner FROM cluster_ledger WHERE name = %s", key)
        with nodes.sql() as outside:
            outside.execute("SELECT 1 FROM lightmoon_node WHERE id = %s FOR UPDATE", [owner])
            time.sleep(1.2)  # heartbeats wait for the row, and the lease ends
            call = nodes.here.asking_ledger(key, "add", 5, timeout=15)
            held = guest.asking_ledger(key, "add", 1000, timeout=15)
            time.sleep(0.2)
            outside.rollback()
        answers = []
        for one in (call, held):
            try:
                answers.append(one.result(20))
            except Failed as error:
                answers.append(error.kind)
        total = sum(n for n, answer in zip((5, 1000), answers, strict=True) if isinstance(answer, int))
        assert nodes.third.ask_ledger(key, "get", timeout=15) == total, answers
        assert isinstance(answers[0], int), answers
        dead = "SELECT dead FROM lightmoon_node WHERE id = %s"
        eventually(lambda: nodes.one(dead, owner) in (True, None), "somebody buries it")
        assert nodes.one("SELECT lightmoon_owner FROM cluster_ledger WHERE name = %s", key) != owner
        anew = "SELECT count(*) FROM lightmoon_node WHERE pid = %s AND NOT dead AND id <> %s"
        eventually(lambda: nodes.one(anew, guest.process.pid, owner) == 1, "it goes on as a new incarnation")


@pytest.mark.parametrize("message", ["remind_after", "write_after"])
def test_a_node_that_lost_an_actor_stores_nothing_beside_it(unix_nodes: Nodes, message: str) -> None:
    """B73: a turn that changes no column of its own goes on after a pause, in which another node took over."""
    nodes, gate = unix_nodes, f"gate of {message}"
    with nodes.guest() as guest:
        key = nodes.ledger(guest)
        held = guest.asking_ledger(key, message, gate, timeout=15)
        guest.until_logged(["holding", gate])
        guest.send(signal.SIGSTOP)
        assert nodes.here.ask_ledger(key, "get", timeout=15) == 0
        assert nodes.here.ask_ledger(key, "add", 5) == 5
        guest.send(signal.SIGCONT)
        guest.do("open", gate=gate)
        guest.until_logged(["past", gate])
        with pytest.raises(Failed):
            held.result(15)
        assert guest.ask_ledger(key, "pay", 1, call_id=gate, timeout=15) == 6  # sent again, should its name change now
    assert nodes.one("SELECT count(*) FROM lightmoon_reminder WHERE key = %s", key) == 0
    assert nodes.one("SELECT count(*) FROM cluster_entry WHERE text = %s", gate) == 0
