"""CPU and latencies of one run."""

from __future__ import annotations

import array
import time

import psutil

from bench.load.jobs import Measured, Target

QUARTERS = 4  # of a second, for the timeline


class Meter:
    """Starts when the warm-up is over. `latencies` are seconds."""

    def __init__(self, target: Target, clients: int) -> None:
        self._server = psutil.Process(target.server_pid)
        self._database = psutil.Process(target.database_pid) if target.database_pid else None
        self.latencies = array.array("d")
        self.slowest_of_client = [0.0] * clients
        self.timeline: list[int] = []
        self.errors = 0
        self.first_error = ""

    def start(self) -> None:
        self.latencies = array.array("d")
        self.slowest_of_client = [0.0] * len(self.slowest_of_client)
        self.timeline = []
        self._server_cpu = _cpu(self._server)
        self._database_cpu = _cpu(self._database)
        self._own_cpu = time.process_time()
        self._began = time.perf_counter()

    def failed(self, answer: bytes) -> None:
        self.errors += 1
        self.first_error = self.first_error or answer[:300].decode(errors="replace")

    def stop(self, count: int | None = None) -> Measured:
        """`count` where it differs from the number of latencies taken."""
        seconds = time.perf_counter() - self._began
        own = time.process_time() - self._own_cpu
        ordered = sorted(self.latencies)
        count = len(ordered) if count is None else count
        return Measured(
            count=count,
            seconds=seconds,
            rate=count / seconds,
            p50=_percentile(ordered, 0.5),
            p99=_percentile(ordered, 0.99),
            slowest=_percentile(ordered, 1.0),
            errors=self.errors,
            first_error=self.first_error,
            load_cpu=own / seconds,
            server_cpu=_spent(self._server_cpu, _cpu(self._server)) / seconds,
            database_cpu=_spent(self._database_cpu, _cpu(self._database)) / seconds,
            slowest_of_client=[1000 * found for found in self.slowest_of_client],
            timeline=self.timeline,
        )


def _percentile(ordered: list[float], share: float) -> float:
    if not ordered:
        return 0.0
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _cpu(process: psutil.Process | None) -> dict[int, float]:
    """Seconds of CPU of a process and its children, by pid."""
    found: dict[int, float] = {}
    if process is None:
        return found
    for one in [process, *process.children(recursive=True)]:
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        found[one.pid] = times.user + times.system
    return found


def _spent(before: dict[int, float], after: dict[int, float]) -> float:
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())
