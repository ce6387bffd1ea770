"""The gateway before a small node of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from lightmoon_django import host
from lightmoon_django.conf import Settings
from tests.gateway.actors import Member
from tests.gateway.board import Board
from tests.gateway.wire import Wire


@pytest.fixture
def settle_board(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Board]:
    """Put a node with these settings behind the gateway."""

    def settle(**settings: Any) -> Board:
        board = Board(dataclasses.replace(Settings(), **settings))
        monkeypatch.setattr(host, "switchboard", lambda: board)
        return board

    return settle


@pytest.fixture
def board(settle_board: Callable[..., Board]) -> Board:
    """A node with the default settings."""
    return settle_board()


@pytest.fixture(autouse=True)
def members(monkeypatch: pytest.MonkeyPatch) -> type[Member]:
    """The permission class as it is at first."""
    monkeypatch.setattr(Member, "allowed", True)
    monkeypatch.setattr(Member, "asked", 0)
    return Member


@pytest.fixture
def wire(board: Board) -> Wire:
    """A client of `board`, not yet connected."""
    return Wire()
