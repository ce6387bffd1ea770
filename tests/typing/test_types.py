"""Editors and type checkers see through `@message`, `@event` and `ref`, without a plug-in.

Pyright resolves the same cases, but has to be downloaded through npm, so only mypy runs here.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

mypy_api = pytest.importorskip("mypy.api")

ROOT = Path(__file__).resolve().parent.parent.parent
CASES = sorted(Path(__file__).parent.joinpath("cases").glob("*.py"))

Findings = dict[int, list[str]]


def expected(path: Path) -> Findings:
    """By line: what its comment asks for."""
    found: Findings = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if match := re.search(r"# ([RE]): (.+)$", line):
            found[number] = [f"{match[1]}: {one}" for one in match[2].split(", ")]
    return found


def reported(path: Path) -> Findings:
    """By line: what mypy says, in the same form."""
    output, errors, _ = mypy_api.run(
        ["--strict", "--config-file=", "--hide-error-context", "--no-pretty", str(path.relative_to(ROOT))]
    )
    assert not errors, errors
    found: Findings = defaultdict(list)
    for line in output.splitlines():
        if not line.startswith(str(path.relative_to(ROOT))):
            continue
        number = int(line.split(":")[1])
        if match := re.search(r'Revealed type is "(.+)"', line):
            found[number].append(f"R: {match[1].replace('builtins.', '')}")
        elif match := re.search(r": error: .*\[([a-z-]+)\]$", line):
            found[number].append(f"E: {match[1]}")
    return dict(found)


@pytest.mark.timeout(300)  # seconds; without a cache mypy reads the stubs of Django first
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_mypy_sees_messages_and_events_as_they_are(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ref(Auction, 42).bid.sync(Decimal(1))` is a Decimal, and a wrong argument is an error before anything runs."""
    monkeypatch.chdir(ROOT)
    assert reported(path) == expected(path)
