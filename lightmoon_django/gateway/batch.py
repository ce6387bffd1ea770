"""The answers of a batch, which travel as one array once all are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightmoon_django import codec
from lightmoon_django.codec import weigh
from lightmoon_django.errors import TooLarge
from lightmoon_django.gateway import frames

if TYPE_CHECKING:
    from lightmoon_django.gateway.calls import Sink


class Batch:
    """Collects answers for the connection that the batch came through. A `Sink` itself."""

    __slots__ = ("_answers", "_expected", "_limit", "_sealed", "_target", "_weight")

    def __init__(self, target: Sink, limit: int) -> None:
        """Answers beyond `limit` bytes together are replaced by errors."""
        self._target = target
        self._limit = limit
        self._weight = 0
        self._answers: list[str] = []
        self._expected = 0
        self._sealed = False

    def expect(self) -> None:
        self._expected += 1

    def answer(self, frame: str) -> None:
        self._weight += weigh(frame)
        self._answers.append(frame if self._weight <= self._limit else self._instead(frame))
        self._deliver()

    def seal(self) -> None:
        """All messages were read. A batch of notifications alone is answered by nothing."""
        self._sealed = True
        if self._expected:
            self._target.expect()
            self._deliver()

    def _deliver(self) -> None:
        if self._sealed and len(self._answers) == self._expected:
            self._target.answer(f"[{','.join(self._answers)}]")
            self._answers = []

    def _instead(self, frame: str) -> str:
        request_id = bytes(codec.decode_envelope(frame).id).decode()  # type: ignore[arg-type]
        return frames.failure(request_id, TooLarge(f"The answers of a batch may have {self._limit} bytes together."))
