"""A call as a frame, and back: what of it travels, and what stands for the rest on the other node."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from lightmoon_django.actor import registry
from lightmoon_django.actor.call import Tell
from lightmoon_django.errors import LightMoonError, MethodNotFound
from lightmoon_django.identity import Address
from lightmoon_django.messages import Remote, Step

if TYPE_CHECKING:
    from lightmoon_django.actor.call import Call
    from lightmoon_django.actor.schema import ActorSchema, MessageSchema

logger = logging.getLogger("lightmoon")

NO_ARGUMENTS = b"\x90"


class ForeignTurn:
    """A turn that runs on another node, as a link in a chain of calls."""

    __slots__ = ("activation", "actor", "call", "node", "number", "running", "waiting")

    def __init__(self, step: Step) -> None:
        self.node = step.node
        self.number = step.turn
        self.actor = Address(step.actor, step.key)
        self.call = self  # whoever asks a turn for its call wants the address
        self.activation = None
        self.running = True
        self.waiting: list[Any] | None = None

    @property
    def address(self) -> Address:
        return self.actor


class Wake(Tell):
    """Has an actor claimed and loaded where it is sent. Nothing else depends on it."""

    __slots__ = ()

    @classmethod
    def of(cls, schema: ActorSchema, key: str, deadline: float) -> Wake:
        return cls(schema.system[registry.PASS], key, (), NO_ARGUMENTS, deadline)

    def reject(self, error: LightMoonError) -> None:
        logger.debug("%s has moved, but was not woken: %s", self.address, error)


def described(call: Call, id: int, generation: int, now: float, me: int) -> Remote:
    """The frame of a call."""
    return Remote(
        id=id,
        actor=call.schema.name,
        key=call.key,
        message=call.message.name,
        payload=bytes(call.payload),
        form=call.form,
        seconds=max(0.0, call.deadline - now),
        caller=call.caller,
        user=user_key(call.user) if call.user is not None else None,
        chain=tuple(_step(turn, me) for turn in call.chain) if call.chain else (),
        identity=(call.identity.id, call.identity.fingerprint) if call.identity is not None else None,
        generation=generation,
        hops=call.hops,
        mark=call.mark,
    )


def user_key(user: Any) -> str | None:
    """By which another node loads the user; empty for an anonymous one, None for nobody."""
    if user is None:
        return None
    return str(user.pk) if getattr(user, "is_authenticated", False) else ""


def _step(turn: Any, me: int) -> Step:
    node = turn.node if isinstance(turn, ForeignTurn) else me
    address = turn.call.address
    return Step(node, turn.number, address.actor, address.key)


def message_of(frame: Remote) -> MessageSchema:
    """The message that a frame names. Raises `MethodNotFound`: that node runs another version of the project."""
    schema = registry.by_name(frame.actor)
    message = schema.messages.get(frame.message) or schema.system.get(frame.message) if schema is not None else None
    if message is None:
        raise MethodNotFound(f"This node knows no message {frame.actor}.{frame.message}: it runs another version.")
    return message


def subscription_of(frame: Remote) -> MessageSchema:
    """What stands for a subscription to the actor that a frame names. Raises `MethodNotFound`."""
    schema = registry.by_name(frame.actor)
    if schema is None:
        raise MethodNotFound(f"This node knows no actor {frame.actor}: it runs another version.")
    return schema.subscription
