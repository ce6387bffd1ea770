"""Who sees what of an actor whose view differs: its `view_for(user)` says it, for each who follows.

Users with equal answers see the same, and one frame is made for all of them. The answer may depend on the actor's
fields: it is asked for again after each turn that changed them, and who sees something else from then on is told the
difference to what it saw before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lightmoon_django import codec
from lightmoon_django.actor.view import State, difference

if TYPE_CHECKING:
    from lightmoon_django.actor.turn import Turn
    from lightmoon_django.persistence.store import Snapshot
    from lightmoon_django.runtime.activation import Activation

NOTHING = ""  # the change for those who see none


class Audience:
    """The followers of one stream: sessions with their users, and what `view_for` said of each."""

    __slots__ = ("_viewers", "_view_for")

    def __init__(self, view_for: Callable[..., Any]) -> None:
        self._view_for = view_for
        self._viewers: dict[str, tuple[Any, Any]] = {}

    def join(self, activation: Activation, id: str, user: Any, snapshot: Snapshot) -> bytes:
        """A session follows from that state on; what it sees of it, encoded.

        Raises what the project's code raises, and for what can't be sent: then it doesn't follow by this.
        """
        assert activation.view is not None
        viewer = self._view_for(activation.columns.make(snapshot, activation.key), user)
        state = codec.encode_json(activation.view.state_as(viewer, activation.columns, snapshot, activation.key))
        self._viewers[id] = user, viewer
        return state

    def leave(self, id: str) -> None:
        """A session has gone."""
        self._viewers.pop(id, None)

    def clear(self) -> None:
        """Nobody follows any more: the stream was broken off."""
        self._viewers.clear()

    def changes(self, activation: Activation, turn: Turn) -> dict[str, str]:
        """By session, what a finished turn changed of what it sees: the rest of an encoded frame, or `NOTHING`.

        Equal changes are one and the same text.
        """
        instance = activation.columns.make(turn.after, activation.key)
        told: dict[tuple[Any, Any], str] = {}
        states: dict[tuple[bool, Any], State] = {}
        found: dict[str, str] = {}
        for id, (user, before) in list(self._viewers.items()):
            after = self._view_for(instance, user)
            if (before, after) not in told:
                told[before, after] = self._change(activation, turn, before, after, states)
            self._viewers[id] = user, after
            found[id] = told[before, after]
        return found

    @staticmethod
    def _change(activation: Activation, turn: Turn, before: Any, after: Any, states: dict[Any, State]) -> str:
        def state(late: bool, viewer: Any, snapshot: Snapshot) -> State:
            assert activation.view is not None
            if (late, viewer) not in states:
                states[late, viewer] = activation.view.state_as(viewer, activation.columns, snapshot, activation.key)
            return states[late, viewer]

        changed, gone = difference(state(False, before, turn.before), state(True, after, turn.after))
        if not changed and not gone:
            return NOTHING
        return f'"set":{codec.encode_json(changed).decode()},"unset":{codec.encode_json(gone).decode()}'
