"""When the server is shown another token: in time before the last one ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

EARLY = 30.0  # seconds before a token ends, or half of its time where that is less


class Renewal:
    def __init__(self, renew: Callable[[], object]) -> None:
        self._renew = renew
        self._timer: asyncio.TimerHandle | None = None

    def after(self, seconds: Any) -> None:
        """The token is good for that many seconds more; without a number it doesn't end."""
        self.stop()
        if isinstance(seconds, (int, float)):
            delay = max(seconds - EARLY, seconds / 2)
            self._timer = asyncio.get_running_loop().call_later(delay, self._renew)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
