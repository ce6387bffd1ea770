"""Who follows an actor, from wherever: clients and their actor in different processes, of which some die."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.cluster.processes import Failed, Group, Member, carried_by
from tests.databases import Databases


@pytest.fixture(scope="module")
def environment(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return databases.sqlite(tmp_path_factory.mktemp("cluster"))


@pytest.fixture(params=["unix", pytest.param("layer", marks=pytest.mark.slow)])
def group(request: pytest.FixtureRequest, environment: dict[str, str]) -> Iterator[Group]:
    with carried_by(request.param) as way:
        found = Group({**environment, **way, "LEASE_SECONDS": "60"})
        try:
            yield found
        finally:
            found.close()


def _enter(member: Member, key: str, *names: str) -> None:
    for name in names:
        member.do("dial", client=name, cookie=member.do("log_in", name=name))
        member.do("call", client=name, method="lm.subscribe", params=["live.Lounge", key])


def _until(member: Member, key: str, expected: dict[str, int]) -> None:
    """The actor itself knows them, whoever asks."""
    member.until(lambda: member.ask(key, "visitors", actor="live.Lounge"), expected)


def test_everybody_is_seen_wherever_they_came_in_until_they_or_their_node_have_gone(group: Group) -> None:
    """Also when the actor's own node dies: its streams are joined anew at the next one, and the list is whole again."""
    owner, here, there = group.start(3)
    _enter(owner, "a", "bob")
    _enter(here, "a", "ada", "joe")
    _enter(there, "a", "eve", "sue")
    _until(owner, "a", {"bob": 1, "ada": 1, "joe": 1, "eve": 1, "sue": 1})
    here.until_heard("ada", lambda frames: any("eve" in str(one) for one in frames))
    here.do("hang_up", client="joe")
    _until(there, "a", {"bob": 1, "ada": 1, "eve": 1, "sue": 1})
    there.until_heard("eve", lambda frames: frames[-1]["params"]["count"]["users"] == 4)

    owner.kill()
    for member, name in ((here, "ada"), (there, "eve"), (there, "sue")):
        member.until_heard(name, lambda frames: any(one["method"] == "lm.reset" for one in frames))
        member.do("call", client=name, method="lm.subscribe", params=["live.Lounge", "a"])
    _until(there, "a", {"ada": 1, "eve": 1, "sue": 1})

    there.kill()
    _until(here, "a", {"ada": 1})
    here.until_heard("ada", lambda frames: len(frames[-1]["params"].get("leaves", {})) == 2)


def test_what_clients_say_of_their_connections_is_seen_in_other_processes(group: Group) -> None:
    owner, there = group.start(2)
    _enter(owner, "m", "bob")
    there.do("dial", client="ada", cookie=there.do("log_in", name="ada"))
    say = {"actor": "live.Lounge", "key": "m"}
    there.do("call", client="ada", method="lm.subscribe", params={**say, "meta": {"device": "phone"}})
    owner.until_heard("bob", lambda frames: any("'phone'" in str(one) for one in frames))
    there.do("call", client="ada", method="lm.present", params={**say, "meta": {"device": "desk"}})
    owner.until_heard("bob", lambda frames: "'desk'" in str(frames[-1]))
    there.until_heard("ada", lambda frames: "'desk'" in str(frames[-1]))


def test_who_gave_up_while_the_actors_node_was_silent_does_not_stay_listed(group: Group) -> None:
    """B52: the node is paused for longer than a subscription waits, and takes it all the same when it goes on."""
    owner, there = group.start(2, CALL_TIMEOUT="1")
    _enter(owner, "s", "bob")
    _enter(there, "s", "eve")
    there.do("dial", client="ada", cookie=there.do("log_in", name="ada"))
    owner.send(signal.SIGSTOP)
    with pytest.raises(Failed, match="error"):
        there.do("call", client="ada", method="lm.subscribe", params=["live.Lounge", "s"])
    there.do("hang_up", client="ada")
    owner.send(signal.SIGCONT)
    owner.until_heard("bob", lambda frames: any("ada" in str(one["params"].get("joins")) for one in frames))
    _until(owner, "s", {"bob": 1, "eve": 1})
