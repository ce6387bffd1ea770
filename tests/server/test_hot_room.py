from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import databases
from bench.limits import raise_limit
from bench.load.jobs import Fate
from bench.scenarios import hot

WEBSOCKETS, STREAMS = 4000, 1000
SECONDS = 60.0


@pytest.fixture
def open_files() -> Iterator[int]:
    """How many connections a process may have; the server and the clients inherit it."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield raise_limit()
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_client_that_stops_reading_in_a_hot_room_harms_nobody_and_is_told(tmp_path: Path, open_files: int) -> None:
    """B55: a publisher at full rate for a minute, and thousands who follow over two transports."""
    share = min(1.0, open_files / (WEBSOCKETS + STREAMS + 2))
    with databases.sqlite(tmp_path) as database:
        found = hot.heat(database, int(share * WEBSOCKETS), int(share * STREAMS), SECONDS)
    assert found.gaps == 0, found.first_gap
    assert found.behind == 0
    assert found.resets == 0
    assert found.fate in (Fate.RESET, Fate.DROPPED), found.fate
    early, late = hot.halves(found.memory)
    assert late <= 1.2 * early, found.memory
