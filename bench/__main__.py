"""`python -m bench [--quick] [--only NAME …]`."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import ExitStack

from bench import databases
from bench.databases import Database
from bench.limits import raise_limit
from bench.plan import FULL, QUICK, Plan
from bench.report import Report
from bench.scenarios import (
    cold,
    connections,
    counter,
    crossing,
    fanout,
    hot,
    idle,
    links,
    neighbours,
    once,
    processes,
    reminders,
    timers,
)
from bench.servers import LoadError

Scenario = Callable[[Plan, Report, Database], None]

SCENARIOS: dict[str, tuple[Scenario, tuple[str, ...]]] = {
    "counter": (counter.measure, ("postgres", "sqlite")),
    "once": (once.measure, ("postgres", "sqlite")),
    "fanout": (fanout.measure, ("sqlite",)),
    "cold": (cold.measure, ("postgres", "sqlite")),
    "idle": (idle.measure, ("sqlite",)),
    "connections": (connections.measure, ("sqlite",)),
    "storm": (connections.storm, ("sqlite",)),
    "hot": (hot.measure, ("sqlite",)),
    "views": (neighbours.views, ("sqlite", "postgres")),
    "timers": (timers.measure, ("sqlite",)),
    "reminders": (reminders.measure, ("postgres", "sqlite")),
    "locked": (neighbours.locked_row, ("postgres",)),
    "links": (links.measure, ("sqlite",)),
    "crossing": (crossing.measure, ("sqlite",)),
    "scaling": (processes.scaling, ("sqlite",)),
    "failover": (processes.failover, ("postgres", "sqlite")),
    "drain": (processes.drain, ("postgres", "sqlite")),
}
OPENERS = {"postgres": databases.postgres, "sqlite": databases.sqlite}
QUIET = 0.5  # processes that want to run, on average over the last minute


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped and databases removed
    options = _options()
    raise_limit()  # for the servers and load generators too
    plan, report = (QUICK if options.quick else FULL), Report()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}")
    if (others := os.getloadavg()[0]) > QUIET:
        report.warn(
            f"This machine is busy with something else (load {others:.1f}): figures will be too low and uneven."
        )
    wanted = [name for name in SCENARIOS if not options.only or name in options.only]
    with ExitStack() as stack:
        directory = stack.enter_context(databases.scratch(options.directory))
        opened: dict[str, Database] = {}
        for name in wanted:
            scenario, kinds = SCENARIOS[name]
            for kind in kinds:
                if options.database and kind not in options.database:
                    continue
                if kind not in opened:
                    opened[kind] = stack.enter_context(OPENERS[kind](directory))
                try:
                    scenario(plan, report, opened[kind])
                except (LoadError, OSError, RuntimeError) as error:
                    report.broken(f"{type(error).__name__}: {error}")
        report.close()
    return 1 if report.missed and options.strict else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=sys.modules["bench"].__doc__)
    parser.add_argument("--quick", action="store_true", help="about a minute instead of several")
    parser.add_argument("--only", action="append", choices=SCENARIOS, help="one scenario; may be repeated")
    parser.add_argument("--database", action="append", choices=OPENERS, help="one database; may be repeated")
    parser.add_argument("--directory", help="where the databases lie; not a RAM disk")
    parser.add_argument("--strict", action="store_true", help="end with 1 when an aim is missed")
    return parser.parse_args()


if __name__ == "__main__":
    warnings.filterwarnings("ignore", module="platformdirs")  # says that it uses a temporary directory
    sys.exit(main())
