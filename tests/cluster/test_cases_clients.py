"""Cases of clients at three real web nodes over PostgreSQL, where another node has the actor, with each carrier."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.cluster.nodes import Nodes
from tests.server.harness import Client

LEDGER = "cluster.Ledger"
BURST = 200  # events at once; HISTORY is 256


class Follower:
    """A client that follows a ledger, and checks the positions of all it hears."""

    def __init__(self, client: Client, key: str, since: dict[str, Any] | None = None) -> None:
        self.client = client
        self.key = key
        self.start = client.call("lm.subscribe", actor=LEDGER, key=key, since=since)
        self.epoch: str = self.start["epoch"]
        self.seq: int = self.start["seq"]
        self.resets = 0

    @property
    def position(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "seq": self.seq}

    @property
    def missed(self) -> list[int]:
        """The numbers that came with the answer, of what happened since the given position."""
        return [one["data"]["n"] for one in self.start["events"] if "data" in one]

    def frames(self) -> Iterator[dict[str, Any]]:
        """Each as it comes: the next one of the stream, or a reset."""
        while True:
            frame = self.client.notifications.pop(0) if self.client.notifications else self.client.receive()
            params = frame["params"]
            if frame["method"] in ("lm.event", "lm.state"):
                assert (params["epoch"], params["seq"]) == (self.epoch, self.seq + 1), "a silent gap"
                self.seq += 1
            yield frame

    def numbers(self, until: int) -> list[int]:
        """Those of all events up to that number."""
        found = []
        for frame in self.frames():
            assert frame["method"] != "lm.reset", frame
            if frame["method"] == "lm.event":
                found.append(frame["params"]["data"]["n"])
                if found[-1] == until:
                    return found
        raise AssertionError

    def reset(self) -> str:
        """The reason of the reset that comes."""
        for frame in self.frames():
            if frame["method"] == "lm.reset":
                return str(frame["params"]["reason"])
        raise AssertionError


def send_with_id(client: Client, ident: str, method: str, **params: Any) -> None:
    client.send_raw(json.dumps({"jsonrpc": "2.0", "id": ident, "method": f"{LEDGER}.{method}", "params": params}))


def answer_to(client: Client, ident: str) -> Any:
    while True:
        frame = client.receive()
        if frame.get("id") == ident:
            assert "error" not in frame, frame
            return frame["result"]


def hello(client: Client, session: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = client.call("lm.hello", protocol=1, session=session)
    return found


def test_ten_thousand_events_reach_subscribers_of_all_nodes(nodes: Nodes) -> None:
    """B55: in order and without a gap, in bursts that the history holds, so that what a layer loses is sent again."""
    key = nodes.ledger(nodes.there)
    with nodes.here.client() as one, nodes.third.client() as other, nodes.there.client() as beside:
        followers = [Follower(client, key) for client in (one, other, beside)]
        for first in range(0, 10_000, BURST):
            nodes.third.ask_ledger(key, "count", first, first + BURST)
            for follower in followers:
                assert follower.numbers(first + BURST - 1) == list(range(first, first + BURST))


def test_a_burst_to_a_client_that_does_not_read_has_no_silent_gap(nodes: Nodes) -> None:
    """B55: 10,000 events of one turn; what the client finds afterwards is all of them, or a reset after the first."""
    key = nodes.ledger(nodes.there)
    with nodes.here.client() as client:
        follower = Follower(client, key)
        nodes.third.ask_ledger(key, "count", 0, 10_000)
        heard: list[int] = []
        for frame in follower.frames():
            if frame["method"] == "lm.reset":
                break
            heard.append(frame["params"]["data"]["n"])
            if heard[-1] == 9999:
                break
        assert heard == list(range(len(heard)))
        again = Follower(client, key)
        assert again.seq >= follower.seq
        nodes.third.ask_ledger(key, "add", 3)
        assert again.numbers(3) == [3]


def test_a_client_goes_on_at_any_node(nodes: Nodes) -> None:
    """B56: it comes back with its position, at the same node and at others; what it missed comes once each."""
    key = nodes.ledger(nodes.there)
    with nodes.here.client() as client:
        follower = Follower(client, key)
        nodes.third.ask_ledger(key, "count", 0, 10)
        assert follower.numbers(9) == list(range(10))
    nodes.third.ask_ledger(key, "count", 10, 30)
    for node in (nodes.here, nodes.third, nodes.there):
        with node.client() as client:
            back = Follower(client, key, since=follower.position)
            assert back.start["recovered"]
            assert back.missed == list(range(10, 30))
            assert "state" not in back.start or back.start["state"] is None
    nodes.third.ask_ledger(key, "count", 30, 330)  # more than is kept
    with nodes.third.client() as client:
        late = Follower(client, key, since=follower.position)
        assert not late.start["recovered"]
        assert late.start["state"] == {"balance": 0, "note": ""}
        nodes.here.ask_ledger(key, "add", 7)
        assert late.numbers(7) == [7]


def test_a_call_in_flight_resolves_once_after_a_reconnect(nodes: Nodes) -> None:
    """B57: the connection breaks while another node runs the call; it is asked again when the client is back."""
    key, gate = nodes.ledger(nodes.there), "reconnect"
    with nodes.here.client() as client:
        token = hello(client)["session"]
        send_with_id(client, "c-1", "hold", key=key, gate=gate, n=5)
        nodes.there.until_logged(["holding", gate])
        client._connection.socket.shutdown(2)  # as a network does it
    with nodes.here.client() as client:
        assert hello(client, token)["recovered"]
        send_with_id(client, "c-1", "hold", key=key, gate=gate, n=5)
        nodes.there.do("open", gate=gate)
        assert answer_to(client, "c-1") == 5
        send_with_id(client, "c-1", "hold", key=key, gate=gate, n=5)
        assert answer_to(client, "c-1") == 5
        assert client.call(f"{LEDGER}.get", key=key) == 5


def test_a_paid_call_is_answered_at_another_node_after_a_crash(nodes: Nodes) -> None:
    """B57, B50: a `once` call at a node that is killed; the client repeats it elsewhere, with its session's token."""
    with nodes.guest() as guest, guest.client() as client:
        key = nodes.ledger(guest)
        token = hello(client)["session"]
        send_with_id(client, "p-1", "pay", key=key, n=7)
        assert answer_to(client, "p-1") == 7
        guest.kill()
    with nodes.third.client() as client:
        assert not hello(client, token)["recovered"]
        send_with_id(client, "p-1", "pay", key=key, n=7)
        assert answer_to(client, "p-1") == 7
        assert client.call(f"{LEDGER}.get", key=key) == 7


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_clients_of_a_node_that_ends_go_on_elsewhere(nodes: Nodes, how: signal.Signals) -> None:
    """B58, B56: they notice at once, and miss nothing of an actor that another node has."""
    key = nodes.ledger(nodes.there)
    with nodes.guest() as guest, guest.client() as client:
        follower = Follower(client, key)
        nodes.here.ask_ledger(key, "count", 0, 5)
        assert follower.numbers(4) == list(range(5))
        guest.send(how)
        if how is signal.SIGTERM:
            frame = client.receive()
            assert (frame["method"], frame["params"]["reason"]) == ("lm.closing", "shutdown")
            assert frame["params"]["retry_after"] > 0
        with pytest.raises(ConnectionClosed) as closed:
            client.receive()
        assert (closed.value.rcvd.code if closed.value.rcvd else None) == (1012 if how is signal.SIGTERM else None)
    nodes.here.ask_ledger(key, "count", 5, 10)
    with nodes.third.client() as client:
        back = Follower(client, key, since=follower.position)
        assert (back.start["recovered"], back.missed) == (True, list(range(5, 10)))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_followers_of_an_actor_whose_node_ends_begin_anew(nodes: Nodes, how: signal.Signals) -> None:
    """B58: a reset that says so, and then the state as it is stored."""
    with nodes.guest() as guest, nodes.here.client() as client:
        key = nodes.ledger(guest)
        follower = Follower(client, key)
        nodes.third.ask_ledger(key, "add", 5)
        assert follower.numbers(5) == [5]
        guest.send(how)
        assert follower.reset()
        again = Follower(client, key, since=follower.position)
        assert (again.start["recovered"], again.start["state"]["balance"]) == (False, 5)
        assert again.epoch > follower.epoch
        assert nodes.third.ask_ledger(key, "get", timeout=15) == 5  # it, too, has learned of the end
        nodes.third.ask_ledger(key, "add", 1)
        assert again.numbers(1) == [1]


def test_an_outside_write_reaches_followers_of_other_nodes(nodes: Nodes) -> None:
    """B71: as a reset, or as the new state."""
    key = nodes.ledger(nodes.there)
    with nodes.here.client() as client:
        follower = Follower(client, key)
        with nodes.sql() as outside:
            outside.execute("UPDATE cluster_ledger SET balance = 500 WHERE name = %s", [key])
        nodes.third.ask_ledger(key, "add", 1)
        for frame in follower.frames():
            if frame["method"] == "lm.reset":
                assert Follower(client, key).start["state"]["balance"] == 501
                return
            if frame["params"].get("set", {}).get("balance") == 501:
                return
