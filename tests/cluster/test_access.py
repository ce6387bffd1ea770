"""Who may see what, where clients, their actors and the change are in different processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from lightmoon_django.cluster.users import Users
from lightmoon_django.testing.clock import ManualClock
from tests.cluster.processes import Group, Member, carried_by
from tests.databases import Databases
from tests.server.harness import ROOT

SOON = 4.0  # seconds, long before `PERMISSION_TTL` has passed


@pytest.fixture(scope="module", params=["unix", pytest.param("layer", marks=pytest.mark.slow)])
def group(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Group]:
    environment = databases.sqlite(tmp_path_factory.mktemp("cluster"))
    with carried_by(request.param) as way:
        found = Group({**environment, **way})
        try:
            yield found
        finally:
            found.close()


@pytest.fixture(scope="module")
def trio(group: Group) -> list[Member]:
    return group.start(3)


def _methods(frames: list[Any]) -> list[str]:
    return [one["method"] for one in frames]


@pytest.mark.parametrize("change", ["logged out", "deactivated"])
def test_a_change_reaches_clients_of_other_processes_at_once(trio: list[Member], change: str) -> None:
    """B60: the client, its actor and the view that changes the user are in three processes."""
    here, there, third = trio
    name = change.replace(" ", "_")
    cookie = here.do("log_in", name=name)
    key = there.make()
    here.do("dial", client=name, cookie=cookie)
    here.do("call", client=name, method="lm.subscribe", params=["live.Tally", key])
    if change == "logged out":
        third.do("log_out", name=name, cookie=cookie)
    else:
        third.do("alter_user", name=name, is_active=False)
    here.until_heard(name, lambda frames: _methods(frames) == ["lm.expired", "lm.reset"], SOON)
    third.ask(key, "add")
    assert _methods(here.do("heard", client=name)) == ["lm.expired", "lm.reset"]


def test_each_client_of_another_node_sees_its_own_view(trio: list[Member]) -> None:
    """The owner makes each kind of frame once, and says which sessions of a node it is for."""
    here, there, _ = trio
    there.ask("l", "alter", "Lamp", 1, actor="live.Lot")
    for name, is_staff in (("clerk", True), ("anna", False), ("bert", False)):
        cookie = here.do("log_in", name=name)
        here.do("alter_user", name=name, is_staff=is_staff)
        here.do("dial", client=name, cookie=cookie)
        found = here.do("call", client=name, method="lm.subscribe", params=["live.Lot", "l"])
        assert found["state"] == ({"title": "Lamp", "reserve": 1} if is_staff else {"title": "Lamp"})
    assert there.do("has", actor="live.Lot", key="l")
    there.ask("l", "alter", "Lamp", 2, actor="live.Lot")
    there.ask("l", "alter", "Vase", 3, actor="live.Lot")

    def sets(frames: list[Any]) -> list[Any]:
        return [one["params"].get("set") for one in frames]

    here.until_heard("clerk", lambda frames: sets(frames) == [{"reserve": 2}, {"title": "Vase", "reserve": 3}])
    for name in ("anna", "bert"):
        here.until_heard(name, lambda frames: sets(frames) == [None, {"title": "Vase"}])
    here.do("alter_user", name="anna", is_staff=True)
    here.until_heard("anna", lambda frames: _methods(frames)[-1] == "lm.reset", SOON)
    found = here.do("call", client="anna", method="lm.subscribe", params=["live.Lot", "l"])
    assert found["state"] == {"title": "Vase", "reserve": 3}


def test_what_a_script_says_arrives_though_it_ends_at_once(group: Group, trio: list[Member]) -> None:
    """`access.changed` starts a node, which leaves when it has told the others."""
    here, there, _ = trio
    there.ask("s", "alter", "Lamp", 1, actor="live.Lot")
    here.do("dial", client="watcher", cookie=here.do("log_in", name="watcher"))
    here.do("call", client="watcher", method="lm.subscribe", params=["live.Lot", "s"])
    script = "import django; django.setup(); from lightmoon_django import access; access.changed()"
    environment = {**os.environ, **group.environment}
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, check=True, timeout=60.0)
    here.until_heard("watcher", lambda frames: _methods(frames) == ["lm.reset"], SOON)


def test_guarded_events_are_hidden_on_the_clients_own_node(trio: list[Member]) -> None:
    """B60: the owner sends each once, and a node gives it to those of its clients who may see it."""
    here, there, _ = trio
    key = there.make()
    for name, is_staff in (("nurse", True), ("visitor", False)):
        cookie = here.do("log_in", name=name)
        here.do("alter_user", name=name, is_staff=is_staff)
        here.do("dial", client=name, cookie=cookie)
        here.do("call", client=name, method="lm.subscribe", params=["live.Tally", key])
    there.ask(key, "whisper", "secret")
    for name, methods in (("nurse", ["lm.event", "lm.event"]), ("visitor", ["lm.skip", "lm.event"])):
        here.until_heard(name, lambda frames, methods=methods: _methods(frames) == methods)
    assert "secret" not in str(here.do("heard", client="visitor"))
    epoch = here.do("heard", client="visitor")[0]["params"]["epoch"]
    again = [
        here.do("call", client=name, method="lm.subscribe", params=["live.Tally", key, {"epoch": epoch, "seq": 0}])
        for name in ("nurse", "visitor")
    ]
    assert [[one.get("name") for one in found["events"]] for found in again] == [["whispered", "said"], [None, "said"]]


async def test_a_user_who_changes_while_being_loaded_is_loaded_again() -> None:
    """What was read before the change is not kept as if it were of after it."""
    stored = ["before", "after"]

    async def run(load: Any) -> Any:
        found = load()
        if found == "before":
            users.forget("7")
        return found

    users = Users(lambda key: stored.pop(0), run, ManualClock())  # type: ignore[arg-type]
    await users.fetch("7")
    assert users.has("7")
    assert users.get("7") == "after"
