"""The gateway before a small node of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from lightmoon_django import host, testrun
from lightmoon_django.conf import Settings
from lightmoon_django.runtime.node import Node
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


@pytest.fixture
async def node(transactional_db: None) -> AsyncIterator[Callable[[], Node]]:
    """The real node, which starts with the first connection; for tests that need more than `board` can do."""
    with testrun.real_threads():
        yield host.host.on_this_loop
        await host.host.shut_down(grace=2.0)
        await sync_to_async(connections.close_all)()


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
