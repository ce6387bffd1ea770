"""How a call that is sent again is known: its identity, and those who sent it again meanwhile."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from lightmoon_django.errors import InvalidRequest, LightMoonError, OutcomeUnknown

if TYPE_CHECKING:
    from lightmoon_django.actor.call import Call

SIZE = 16  # bytes of an id and of a fingerprint


class Identity:
    """By which a repeated call is known. Equal ids with equal fingerprints are one call."""

    __slots__ = ("copies", "fingerprint", "id", "looking", "perhaps_ran")

    def __init__(self, id: bytes, fingerprint: bytes) -> None:
        self.id = id
        self.fingerprint = fingerprint
        self.looking = False  # whether it was answered before is being looked up; it can't run yet
        self.copies: list[Call] | None = None  # sent again while the first one was on its way
        self.perhaps_ran = False  # it was sent to a node that has died since

    def refuse_other(self, fingerprint: bytes) -> None:
        """Raises `InvalidRequest` where the id stands for another message or other arguments."""
        if fingerprint != self.fingerprint:
            raise InvalidRequest("This call id was already used for a different call.")


def said(identity: Identity | None, error: LightMoonError) -> LightMoonError:
    """The error as a call's caller may hear it: one that promises that nothing happened may promise too much.

    For a call that was sent again as its node died: what failed then is the second sending.
    """
    if identity is None or not identity.perhaps_ran or not error.retryable:
        return error
    return OutcomeUnknown(f"The node died to which the call was sent first, and then it failed elsewhere: {error}")


def identity(call_id: str, scope: str, method: str, key: str, payload: bytes) -> Identity:
    """The identity of a call. An id counts within its scope (who sent it) and its actor."""
    actor = method.rpartition(".")[0]
    id = _digest(scope.encode(), actor.encode(), key.encode(), call_id.encode("utf-8", "surrogatepass"))
    return Identity(id, fingerprint(method, payload))


def fingerprint(method: str, payload: bytes) -> bytes:
    """A hash of the message and its encoded arguments."""
    return _digest(method.encode(), payload)


def _digest(*parts: bytes) -> bytes:
    found = hashlib.blake2b(digest_size=SIZE)
    for part in parts:
        found.update(len(part).to_bytes(4, "big"))
        found.update(part)
    return found.digest()
