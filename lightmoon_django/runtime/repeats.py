"""Calls that are sent again: an id runs once, and every copy gets the first one's answer.

What is kept in memory goes with an actor that goes on at another node, as a call ahead of all others. That node hears
of it before the row is given back; a call with an id that overtakes it waits for it a while.

Copies that come while the first one is on its way wait for its answer. The last answers are kept in memory. Those of
`once` messages are stored in their own turn's commit, and looked up before a call with an unknown id may run. What is
not found once the row is claimed can't have been answered by anybody, as only the owner of the row runs its turns.
"""

from __future__ import annotations

import datetime
import itertools
import logging
import os
from typing import TYPE_CHECKING, Any

from lightmoon_django.actor import registry
from lightmoon_django.actor.cadence import moment
from lightmoon_django.actor.call import Call, Tell
from lightmoon_django.actor.repeat import SIZE, Identity, fingerprint
from lightmoon_django.actor.turn import Turn
from lightmoon_django.errors import Cancelled, InvalidRequest, LightMoonError, OutcomeUnknown, Overloaded
from lightmoon_django.persistence.records import Answer, Find
from lightmoon_django.runtime.states import ActivationState

if TYPE_CHECKING:
    from lightmoon_django.clock import Cancellable
    from lightmoon_django.runtime.activation import Activation

logger = logging.getLogger("lightmoon")

KEPT = 64  # answers of one activation
KEPT_BYTES = 64 * 1024  # of one answer; a larger one is not kept in memory
BEQUEATHED_BYTES = 256 * 1024  # of the answers that go on with an actor
BEQUEST_WITHIN = 10.0  # seconds
PATIENCE = 2.0  # seconds that a call with an id waits for what an earlier owner remembers
RETRY_AFTER = 0.1  # seconds that a copy too many is told to wait
SECOND = datetime.timedelta(seconds=1)


class Bequest(Tell):
    """Remembered answers on their way to wherever the actor goes on. Nothing else depends on it."""

    __slots__ = ()

    @classmethod
    def of(cls, activation: Activation, answers: list[tuple[bytes, bytes, bytes]]) -> Bequest:
        message = activation.schema.system[registry.INHERIT]
        payload = message.signature.bind((answers,), {})
        found = cls(message, activation.key, None, payload, activation.monotonic() + BEQUEST_WITHIN)
        found.identity = Identity(os.urandom(SIZE), fingerprint(message.wire_name, payload))
        return found

    def reject(self, error: LightMoonError) -> None:
        logger.info("What %s remembers of repeated calls was lost: %s", self.address, error)


def bequest(activation: Activation) -> list[Call]:
    """What an activation that leaves has to tell the next one, ahead of the calls that wait."""
    return activation.repeats.bequest() if activation.repeats is not None else []


class Repeats:
    """What one activation knows of calls with ids."""

    __slots__ = ("_activation", "_answers", "_early", "_running", "_waits")

    def __init__(self, activation: Activation) -> None:
        self._activation = activation
        self._running: dict[bytes, Call] = {}
        self._answers: dict[bytes, tuple[bytes, bytes]] = {}  # fingerprint and encoded result
        self._waits: Cancellable | None = None  # for what an earlier owner remembers
        self._early: list[Call] | None = None  # looked for in vain, while the row was another's perhaps

    def admit(self, call: Call, identity: Identity) -> bool:
        """Whether the call is to be queued. If not it has its answer, or will get the one of its first copy."""
        if call.message.name == registry.INHERIT:
            self._inherit(call)
            return False
        try:
            if self._joins(call, identity) or self._answered(call, identity):
                return False
        except (InvalidRequest, Overloaded) as error:
            call.reject(error)
            return False
        self._running[identity.id] = call
        identity.looking = False  # an earlier activation may have been
        if call.message.options.once and self._activation.store is not None:
            self._look(call, identity)
        elif len(self._activation.node.expected) and self._activation.address in self._activation.node.expected:
            identity.looking = True
            if self._waits is None:
                clock = self._activation.node.clock
                self._waits = clock.call_at(clock.monotonic() + PATIENCE, self._go_on)
        return True

    def _look(self, call: Call, identity: Identity) -> None:
        """Ask the store whether it has the call's answer."""
        identity.looking = True
        assert self._activation.store is not None
        self._activation.store.find(
            Find(identity.id),
            lambda found: self._found(call, identity, found),
            lambda: self._running.get(identity.id) is call,
        )

    def claimed(self) -> None:
        """The row is this node's: look again for what its earlier owner may have stored since."""
        early, self._early = self._early, None
        for call in early or ():
            if call.identity is not None:
                self._look(call, call.identity)

    def _joins(self, call: Call, identity: Identity) -> bool:
        first = self._running.get(identity.id)
        if first is None or first is call or first.identity is None:
            return False
        first.identity.refuse_other(identity.fingerprint)
        if first.identity.copies is None:
            first.identity.copies = []
        elif len(first.identity.copies) >= self._activation.node.settings.MAILBOX_LIMIT:
            raise Overloaded("Too many copies of this call wait for its answer.", retry_after=RETRY_AFTER)
        if call.form == first.form:  # the same bytes, or the fingerprint would differ
            call.payload, call.args = first.payload, None
        first.identity.copies.append(call)
        return True

    def _answered(self, call: Call, identity: Identity) -> bool:
        kept = self._answers.get(identity.id)
        if kept is None:
            return False
        identity.refuse_other(kept[0])
        call.resolve(kept[1])
        return True

    def _found(self, call: Call, identity: Identity, found: Any) -> None:
        """The store has told whether that call was answered before, perhaps by an earlier owner of the row."""
        activation = self._activation
        if self._running.get(identity.id) is not call or call not in activation.mailbox:
            return  # given up, or handed to another activation
        if not isinstance(found, Answer) and activation.state is ActivationState.LOADING:
            self._early = [*(self._early or ()), call]
            return
        identity.looking = False
        if isinstance(found, Answer):
            activation.mailbox.remove(call)
            try:
                identity.refuse_other(found.fingerprint)
            except InvalidRequest as error:
                activation.refuse(call, error)
            else:
                activation.answer(call, found.payload)
        activation.schedule()

    def record(self, turn: Turn, identity: Identity) -> None:
        """Let a `once` call's answer be stored with its turn."""
        node = self._activation.node
        expires = node.clock.now() + node.settings.CALL_RETENTION * SECOND
        answer = Answer(
            id=identity.id,
            fingerprint=identity.fingerprint,
            payload=turn.payload,
            expires_at=moment(expires),
        )
        turn.records = [*(turn.records or ()), answer]

    def succeeded(self, identity: Identity, payload: bytes) -> None:
        """The first copy has its result: so have all others, now and for a while."""
        self._running.pop(identity.id, None)
        if len(payload) <= KEPT_BYTES:
            self._answers[identity.id] = (identity.fingerprint, payload)
            self._forget_oldest()
        copies, identity.copies = identity.copies, None
        for copy in copies or ():
            copy.resolve(payload)

    def _forget_oldest(self) -> None:
        for oldest in tuple(itertools.islice(self._answers, max(0, len(self._answers) - KEPT))):
            del self._answers[oldest]

    def _inherit(self, call: Call) -> None:
        """Take in what an earlier activation remembers. Older than all that is known here."""
        (answers,) = call.take_args()
        self._answers = {id: (hashed, payload) for id, hashed, payload in answers} | self._answers
        self._forget_oldest()
        call.resolve(b"")
        self._go_on()

    def _go_on(self) -> None:
        """Whatever an earlier owner remembers is here, or is waited for no longer."""
        if self._activation.state is not ActivationState.ENDED:
            self._activation.node.expected.discard(self._activation.address)
        if self._waits is None:
            return
        self._waits.cancel()
        self._waits = None
        for call in list(self._running.values()):
            identity = call.identity
            if identity is not None and identity.looking and not call.message.options.once:
                kept = self._answers.get(identity.id)
                self._found(
                    call, identity, kept and Answer(id=identity.id, fingerprint=kept[0], payload=kept[1], expires_at=0)
                )

    def bequest(self) -> list[Call]:
        """The call that takes the last answers to the next activation, if there are any."""
        found: list[tuple[bytes, bytes, bytes]] = []
        size = 0
        for id, (hashed, payload) in reversed(self._answers.items()):
            size += len(payload)
            if size > BEQUEATHED_BYTES:
                break
            found.insert(0, (id, hashed, payload))
        return [Bequest.of(self._activation, found)] if found else []

    def failed(self, identity: Identity, error: LightMoonError) -> None:
        """The first copy has failed. If it was only taken back, the next one takes its place."""
        self._running.pop(identity.id, None)
        copies, identity.copies = identity.copies, None
        for copy in copies or ():
            if isinstance(error, Cancelled):
                self._activation.node.post(copy)
            else:
                copy.reject(error)

    def expire(self, now: float) -> None:
        """Answer copies whose own deadline has passed, however long the first one still has."""
        for first in tuple(self._running.values()):
            if first.identity is None or not first.identity.copies:
                continue
            late = [copy for copy in first.identity.copies if copy.deadline <= now]
            for copy in late:
                first.identity.copies.remove(copy)
                copy.reject(OutcomeUnknown("The deadline passed while an earlier copy of the call was under way."))

    def cancel(self, call: Call, identity: Identity) -> bool:
        """Take back a copy that waits for the first one's answer. False: it isn't one."""
        first = self._running.get(identity.id)
        if first is None or first.identity is None or call not in (first.identity.copies or ()):
            return False
        first.identity.copies = [one for one in first.identity.copies or () if one is not call]
        call.reject(Cancelled("The caller cancelled the call; another copy of it may still run."))
        return True
