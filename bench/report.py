"""How figures are shown: a table per comparison, and each aim beside what came out."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence

from bench.load.jobs import Measured

LOAD_LIMIT = 0.70  # cores; beyond it the generator may be what limits

_COLUMNS = ("p50 ms", "p99 ms", "server CPU", "database CPU", "load CPU", "errors")


@dataclasses.dataclass(frozen=True, slots=True)
class Aim:
    """One figure with what it should be."""

    what: str
    value: float
    at_least: float | None = None
    at_most: float | None = None
    unit: str = "×"

    @property
    def met(self) -> bool:
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    def __str__(self) -> str:
        bound = f"≥ {_number(self.at_least)}" if self.at_least is not None else f"≤ {_number(self.at_most or 0)}"
        return f"  {'PASS' if self.met else 'MISS'}  {self.what}: {_number(self.value)} {self.unit} (aim {bound})"


class Report:
    """Prints as it goes, and remembers which aims were missed."""

    def __init__(self) -> None:
        self.missed: list[str] = []
        self._title = ""

    def title(self, text: str) -> None:
        self._title = text
        print(f"\n{text}\n{'-' * len(text)}", flush=True)

    def table(self, unit: str, rows: Sequence[tuple[str, Measured]]) -> None:
        width = max(24, *(len(label) for label, _ in rows))
        print(f"{'':{width}} {unit:>12} " + " ".join(f"{column:>12}" for column in _COLUMNS))
        for label, found in rows:
            cells = (
                f"{found.p50:.1f}",
                f"{found.p99:.1f}",
                f"{found.server_cpu:.2f}",
                f"{found.database_cpu:.2f}",
                f"{found.load_cpu:.2f}",
                str(found.errors),
            )
            print(f"{label:{width}} {found.rate:>12,.0f} " + " ".join(f"{cell:>12}" for cell in cells), flush=True)
        for label, found in rows:
            if found.load_cpu > LOAD_LIMIT:
                self.warn(
                    f"The load generator used {found.load_cpu:.2f} cores for {label}: it may have been the limit."
                )
            if found.errors:
                self.warn(f"{found.errors} errors from {label}, the first: {found.first_error}")

    def aim(self, aim: Aim) -> None:
        print(aim, flush=True)
        if not aim.met:
            self.missed.append(f"{self._title}: {aim.what}")

    def line(self, text: str) -> None:
        print(f"  {text}", flush=True)

    def warn(self, text: str) -> None:
        print(f"  ATTENTION: {text}", flush=True)

    def broken(self, text: str) -> None:
        """The comparison could not be finished."""
        self.warn(text)
        self.missed.append(f"{self._title}: it could not be measured")

    def close(self) -> None:
        print()
        if not self.missed:
            print("All aims are met.")
        for one in self.missed:
            print(f"MISSED  {one}")


def median(runs: Sequence[Measured]) -> Measured:
    """Field by field; errors are added up."""
    first = runs[0]
    values = {
        field.name: statistics.median(getattr(run, field.name) for run in runs)
        for field in dataclasses.fields(Measured)
        if isinstance(getattr(first, field.name), float)
    }
    errors = sum(run.errors for run in runs)
    first_error = next((run.first_error for run in runs if run.first_error), "")
    return dataclasses.replace(first, **values, errors=errors, first_error=first_error)


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}".rstrip("0").rstrip(".")
