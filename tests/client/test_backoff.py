"""How long the Python client waits before it tries again."""

from __future__ import annotations

import random

import pytest

from lightmoon_django.client.backoff import Backoff


def test_delays_are_exponential_with_full_jitter_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """B58: clients which lost the same server come back spread over the whole delay."""
    monkeypatch.setattr(random, "random", lambda: 0.5)
    backoff = Backoff(1.0, 30.0)
    assert [backoff.next() for _ in range(7)] == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
    backoff.reset()
    assert backoff.next() == 0.5
    monkeypatch.setattr(random, "random", lambda: 0.0)
    assert Backoff().next() == 0.0
    assert Backoff().next(5.0) == 5.0, "not before the server asks for it"
    monkeypatch.setattr(random, "random", lambda: 0.5)
    assert Backoff().next(8.0) == 10.0, "and spread after that too"
    monkeypatch.undo()
    assert len({Backoff().next() for _ in range(100)}) > 90
