"""Starts everything, says what to open, and ends everything on Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from demo_project.cluster import services
from demo_project.cluster.programs import Failed, HostNode, Program, WebServer, in_use

ROOT = Path(__file__).resolve().parents[2]
DIRECTORY = ROOT / ".cluster"
SERVERS = 3
LOOK = 0.5  # seconds between two looks at whether all are still there
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    options = _options()
    ports = range(options.port, options.port + SERVERS)
    if taken := [str(port) for port in ports if in_use(port)]:
        print(
            f"Something listens on port {', '.join(taken)} already. Say another first port: make cluster PORT=9000",
            file=sys.stderr,
        )
        return 1
    for one in SIGNALS:
        signal.signal(one, _interrupt)
    directory = options.directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    os.chdir(ROOT)
    try:
        _run(directory, ports)
    except KeyboardInterrupt:
        print("Everything has ended. What you wrote stays.")
    except (Failed, services.Missing, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _run(directory: Path, ports: Sequence[int]) -> None:
    with services.postgres(directory / "postgres") as database, services.redis() as redis:
        environment = {
            **{name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
            "DEMO_DATABASE": database,
            "DEMO_REDIS": redis,
            "PYTHONUNBUFFERED": "1",
        }
        _manage(environment, "migrate", "--verbosity", "0")
        _manage(environment, "seed")
        servers = [WebServer(port, directory, environment) for port in ports]
        node = HostNode(directory, environment)
        with _running(servers, node):
            _say(servers, node, directory, database)
            _watch([*servers, node])


@contextlib.contextmanager
def _running(servers: Sequence[Program], node: Program) -> Iterator[None]:
    """The node ends last: it takes over what the servers had."""
    try:
        for one in (*servers, node):
            one.start()
        for one in (*servers, node):
            one.wait()
        yield
    finally:
        for group in (servers, [node]):
            for one in group:
                one.terminate()
            for one in group:
                one.finish()


def _watch(programs: Sequence[Program]) -> None:
    """Start again whatever ends, until a signal comes."""
    while True:
        time.sleep(LOOK)
        for one in programs:
            status = one.ended()
            if status is not None:
                print(f"{one.name} has ended ({_told(status)}). Starting it again.", flush=True)
                one.start()
                one.wait()
                print(f"{one.name} is back, as process {one.pid}.", flush=True)


def _say(servers: Sequence[WebServer], node: Program, directory: Path, database: str) -> None:
    print("\n  Three web servers and a host node share one PostgreSQL and one Redis:\n")
    for one in servers:
        print(f"    {one.url:<24} process {one.pid}")
    print(f"    {'(host node)':<24} process {node.pid}\n")
    print("  Open two of them side by side. Kill any of these processes: the others go on, and it is started again.")
    print(f"  Who has which actors:  DEMO_DATABASE={shlex.quote(database)} {sys.executable} manage.py lightmoon_status")
    print(f"  Logs and data are in {directory}/. Ctrl-C ends everything; what you wrote stays.\n", flush=True)


def _manage(environment: Mapping[str, str], *command: str) -> None:
    subprocess.run([sys.executable, "manage.py", *command], env=environment, check=True)


def _told(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


def _interrupt(*_: object) -> None:
    """Once: while everything is being ended, further signals change nothing."""
    for one in SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    raise KeyboardInterrupt


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo_project.cluster")
    parser.add_argument("--port", type=int, default=8000, help="the first of three ports")
    parser.add_argument("--directory", type=Path, default=DIRECTORY, help="where data and logs lie")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
