"""One client's end, whatever it came through: who it is, what it may, and its calls in flight."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest

from lightmoon_django.actor.registry import KEY_LIMIT
from lightmoon_django.errors import InvalidRequest, Overloaded
from lightmoon_django.gateway.answers import Answers
from lightmoon_django.gateway.limits import COPIES, Bucket
from lightmoon_django.gateway.tokens import key_of

if TYPE_CHECKING:
    from lightmoon_django.actor.schema import EventSchema, MessageSchema
    from lightmoon_django.gateway.calls import Sink, Wired
    from lightmoon_django.gateway.hub import Hub
    from lightmoon_django.gateway.session import Session

_JUDGEMENTS = 1000  # kept for one client


class Client:
    """Containers are made when first needed: an idle client is this object alone."""

    __slots__ = (
        "_answers",
        "_bucket",
        "_calls",
        "_judgements",
        "_shared",
        "auth",
        "authenticated",
        "hub",
        "id",
        "proof",
        "user",
        "user_key",
        "voided",
    )

    remembers = False  # answers by string id

    def __init__(self, hub: Hub, user: Any, auth: Any = None, proof: str | None = None) -> None:
        self.hub = hub
        self.id = f"session-{secrets.token_hex(8)}"
        self.auth = auth  # DRF's: a token, say
        self.proof = proof  # the Authorization by which the user is known, if by one
        self._bucket: Bucket | None = None
        self._shared: tuple[Bucket, ...] | None = None  # with others of the same user or address
        self._calls: dict[str | float, Wired] | None = None
        self._answers: Answers | None = None
        self._judgements: dict[tuple[MessageSchema | EventSchema, str], tuple[str, float]] | None = None
        self.voided = 0  # how often what was judged, or is being judged, came to count no more
        self.become(user)

    def become(self, user: Any) -> None:
        """From now on it is `user` who asks; what was judged before is void."""
        self.user = user
        self.user_key = key_of(user)
        self.authenticated = bool(user is not None and user.is_authenticated)
        self._judgements = None
        self._shared = None

    def rebind(self, user: Any, auth: Any = None, proof: str | None = None) -> None:
        """A token has shown who asks."""
        self.become(user)
        self.auth = auth
        self.proof = proof

    @property
    def now(self) -> Client:
        """Whose client it is by now: `lm.hello` may have moved the connection to an earlier session."""
        return self

    @property
    def scope(self) -> str:
        """Within which a string id names one call."""
        return self.id

    async def refresh(self) -> None:
        """Load the user again where it may be outdated. A client of one request has just been identified."""

    def check_alive(self) -> None:
        """Raise `Unavailable` when it has ended, as it may while something is judged: nothing begins then."""

    def begin_session(self) -> Session | None:
        """A session for a client that has none. None where it couldn't have messages. Raises `Overloaded`."""
        return None

    def http_request(self, method: str) -> HttpRequest:
        """What permission classes see as the request underneath."""
        raise NotImplementedError

    def spend(self, now: float) -> None:
        """Count one call. Raises `Overloaded` beyond the rate of the connection, the user or the address."""
        if self._bucket is not None:
            self._bucket.take(now)
        elif self.hub.settings.RATE_LIMIT:
            self._bucket = Bucket(self.hub.settings.RATE_LIMIT, self.hub.settings.RATE_BURST, now)
            self._bucket.take(now)
        shared = self._shared
        if shared is None:
            shared = self._shared = self._buckets()
        for bucket in shared:
            bucket.take(now)

    @property
    def address(self) -> str:
        """Where it comes from, as far as that may be limited."""
        raise NotImplementedError

    def _buckets(self) -> tuple[Bucket, ...]:
        rates = self.hub.rates
        user = rates.users.of(self.user_key) if self.authenticated else None
        return tuple(one for one in (user, rates.addresses.of(self.address)) if one is not None)

    def start(self, call: Any) -> None:
        """Post a call; its answer comes through `settle`."""
        self.admit(call)
        self.hub.post(call)

    def admit(self, call: Any) -> None:
        """Know a call by its id until it is answered. Raises `InvalidRequest` when another one in flight has it."""
        ident = call.ident
        if ident is not None:
            if self._calls is None:
                self._calls = {}
            elif ident in self._calls:
                raise InvalidRequest(f"The id {str(ident)[:100]} names a call that is still in flight.")
            self._calls[ident] = call

    def rest(self) -> None:
        """It may be idle for long: keep nothing that is empty."""
        if not self._calls:
            self._calls = None

    @property
    def waits(self) -> bool:
        """Whether a call of its is in flight."""
        return bool(self._calls)

    def settle(self, call: Wired, frame: str, lasting: bool) -> None:
        """A call with an id is answered by `frame`. A `lasting` answer is given again to the same id."""
        ident = call.ident
        calls = self._calls
        if calls is not None and ident is not None and calls.get(ident) is call:
            del calls[ident]
        if lasting and self.remembers and type(ident) is str and call.fingerprint:
            if self._answers is None:
                self._answers = Answers(self.hub.settings.OUTBOX_BYTES)
            self._answers.keep(ident, call.fingerprint, frame, self.is_away(call))

    def is_away(self, call: Wired) -> bool:
        """Whether its answer waits for the client to come back."""
        return False

    def fingerprint(self, method: str, params: bytes) -> int:
        """Of one call of its user: sent by somebody whom the session has become, it is a different one."""
        return hash((self.user_key, method, params)) or 1

    def recall(self, ident: str, fingerprint: int, sink: Sink) -> bool:
        """Whether this call was sent before: then the first one's answer goes to `sink`, now or when it comes.

        Raises `InvalidRequest` when the id stands for another method, other params or another user, and `Overloaded`
        when many copies wait already: no rate counts them.
        """
        if self._calls:
            running = self._calls.get(ident)
            if running is not None:
                _compare(running.fingerprint, fingerprint, ident)
                if running.copies is None:
                    running.copies = []
                if len(running.copies) >= COPIES:
                    raise Overloaded("Too many copies of this call wait for its answer.", retry_after=1.0)
                running.copies.append(sink)
                return True
        if self._answers is not None:
            found = self._answers.find(ident)
            if found is not None:
                _compare(found[0], fingerprint, ident)
                sink.answer(found[1])
                return True
        return False

    def cancel(self, ident: str | float) -> None:
        """Take back the call with that id, if it is still in flight."""
        call = self._calls.get(ident) if self._calls else None
        if call is not None:
            self.hub.cancel(call)

    def cancel_all(self) -> None:
        """The client is gone: nobody waits for its calls any more."""
        calls, self._calls = self._calls, None
        for call in tuple(calls.values()) if calls else ():
            self.hub.cancel(call)

    def judgement(self, message: MessageSchema | EventSchema, key: str, now: float) -> str | None:
        """What permission classes lately said, if they did."""
        found = self._judgements.get((message, key)) if self._judgements is not None else None
        return found[0] if found is not None and found[1] > now else None

    def forget_judgements(self) -> None:
        """What permission classes said counts no more, nor what they are about to say."""
        self._judgements = None
        self.voided += 1

    def remember(self, message: MessageSchema | EventSchema, key: str, refusal: str) -> None:
        """Keep what permission classes said for `PERMISSION_TTL`, unless the key is one that few actors have."""
        if len(key) > KEY_LIMIT:
            return
        if self._judgements is None or len(self._judgements) >= _JUDGEMENTS:
            self._judgements = {}
        self._judgements[message, key] = (refusal, self.hub.monotonic() + self.hub.settings.PERMISSION_TTL)


def _compare(known: int, fingerprint: int, ident: str) -> None:
    if known != fingerprint:
        raise InvalidRequest(f"The id {ident[:100]!r} was already used for a different call.")
