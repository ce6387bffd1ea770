"""`manage.py lightmoon_tcp`: the same sessions, framed as language servers frame."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import json
import select
import signal
import socket
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.management import CommandError, call_command

from tests.databases import Databases
from tests.server.harness import PATIENCE, ROOT, Server
from tests.server.test_stock_clients import SEEN, packages, play

__all__ = ["packages"]  # a fixture


class Listener:
    """A running `lightmoon_tcp` on a port of its own."""

    def __init__(self, environment: dict[str, str], *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "django", "lightmoon_tcp", "--port", "0", *options],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        if not ready:
            self.process.kill()
            self.stop()
            pytest.fail(f"It does not listen after {PATIENCE} s.")
        self.said = self.process.stdout.readline()
        self.port = int(self.said.removesuffix(" with TLS.\n").rstrip(".\n").rpartition(":")[2])

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(PATIENCE)


@pytest.fixture(scope="module")
def environment(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return Server("uvicorn", databases.sqlite(tmp_path_factory.mktemp("tcp")))._environment


@pytest.fixture(scope="module")
def listener(environment: dict[str, str]) -> Iterator[Listener]:
    listener = Listener(environment)
    yield listener
    listener.stop()


class Wire:
    """Messages over one socket."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE)
        self.sock = sock
        self._file = sock.makefile("rb")

    def close(self) -> None:
        self._file.close()

    def send(self, *messages: dict[str, Any]) -> None:
        self.sock.sendall(b"".join(framed(json.dumps({"jsonrpc": "2.0", **one}).encode()) for one in messages))

    def receive(self) -> Any:
        """The next message; None when the connection has ended."""
        length = 0
        while (line := self._file.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            assert name == b"Content-Length"
            length = int(value)
        return json.loads(self._file.read(length)) if line else None

    def call(self, method: str, **params: Any) -> Any:
        self.send({"id": "1-" + method + str(time.monotonic_ns()), "method": method, "params": params})
        answer = self.receive()
        return answer.get("result", answer.get("error"))


def framed(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


@contextlib.contextmanager
def dial(port: int, *, receive_buffer: int | None = None) -> Iterator[Wire]:
    with socket.socket() as sock:
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)  # later it would stall TCP itself
        sock.connect(("127.0.0.1", port))
        wire = Wire(sock)
        try:
            yield wire
        finally:
            wire.close()


def test_vscode_jsonrpc_calls_receives_events_and_cancels(packages: Path, listener: Listener) -> None:
    """B64, B62: over TCP the stock client sees exactly what it sees over WebSocket."""
    assert play(packages, "tcp", f"127.0.0.1:{listener.port}", "stock") == SEEN


def test_messages_may_be_cut_and_joined_anywhere(listener: Listener) -> None:
    with dial(listener.port) as wire:
        says = [{"jsonrpc": "2.0", "id": n, "method": "server.Room.say", "params": ["ü", "grün"]} for n in (1, 2, 3)]
        first, second, third = (json.dumps(one, ensure_ascii=one["id"] != 2).encode() for one in says)
        kind = b"Content-Type: application/vscode-jsonrpc; charset=utf-8\r\ncontent-length: %d\r\n\r\n" % len(second)
        stream = framed(first) + kind + second + framed(third)
        for byte in stream[:40]:
            wire.sock.sendall(bytes([byte]))
        wire.sock.sendall(stream[40:])
        assert [wire.receive()["result"] for _ in range(3)] == [1, 2, 3]


def test_what_is_no_message_is_answered(listener: Listener) -> None:
    """B20: too large, not UTF-8, not JSON: the connection stays usable. Without a length it can't."""
    with dial(listener.port) as wire:
        for body, code in ((b"x" * 300_000, 4013), (b'"\xff"', -32700), (b"{", -32700), (b"7", -32600)):
            wire.sock.sendall(framed(body))
            answer = wire.receive()
            assert (answer["id"], answer["error"]["code"]) == (None, code)
        assert wire.call("lm.ping") is None
        wire.sock.sendall(b"Hello: world\r\n\r\n")
        assert wire.receive()["error"]["code"] == -32700
        assert wire.receive() is None, "and it is closed"
    other = b"Content-Length: 2\r\nContent-Type: a; charset=utf-16\r\n\r\n{}"
    for head in (b"nonsense\r\n\r\n", b"Content-Length: -1\r\n\r\n", other):
        with dial(listener.port) as wire:
            wire.sock.sendall(head)
            assert wire.receive()["error"]["code"] == -32700
            assert wire.receive() is None
    with dial(listener.port) as wire:
        wire.sock.sendall(b"x" * 100_000)
        with contextlib.suppress(ConnectionError):
            assert wire.receive() is None, "headers are bounded"
    with dial(listener.port) as wire:
        assert wire.call("lm.ping") is None


def test_a_session_goes_on_over_another_connection(listener: Listener) -> None:
    """B56, B57: the one is cut, the other shows its token; what was called meanwhile is answered."""
    with dial(listener.port) as wire:
        hello = wire.call("lm.hello", protocol=1)
        wire.send({"id": "slow", "method": "server.Clicks.slow", "params": ["session", 0.3]})
        wire.send({"id": "here", "method": "lm.ping"})
        assert wire.receive()["id"] == "here"
    with dial(listener.port) as wire:
        assert wire.call("lm.hello", protocol=1, session=hello["session"])["recovered"] is True
        assert wire.receive() == {"jsonrpc": "2.0", "id": "slow", "result": 1}


def test_a_client_that_does_not_read_loses_its_streams_only(listener: Listener) -> None:
    """B59: others go on, and it hears of it when it reads again."""
    with dial(listener.port, receive_buffer=16_384) as slow, dial(listener.port) as other:
        slow.call("lm.subscribe", actor="server.Clicks", key="slow")
        for _ in range(8):
            assert other.call("server.Clicks.burst", key="slow", events=5000) == 5000
        seqs = []
        while (message := slow.receive())["method"] == "lm.event":
            seqs.append(message["params"]["seq"])
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
        assert message["method"] == "lm.reset"


def test_it_says_that_it_stops(environment: dict[str, str]) -> None:
    """B21: SIGTERM, with an actor in memory that goes to another process."""
    listener = Listener(environment)
    try:
        with dial(listener.port) as wire:
            assert wire.call("server.Clicks.add", key=uuid.uuid4().hex) == 1
            listener.process.send_signal(signal.SIGTERM)
            message = wire.receive()
            assert message["method"] == "lm.closing"
            assert message["params"]["retry_after"] > 0
            assert wire.receive() is None
        assert listener.process.wait(PATIENCE) == 0
    finally:
        listener.stop()


def test_tls(environment: dict[str, str], tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    listener = Listener(environment, "--tls-cert", str(certificate), "--tls-key", str(key), "--host", "0.0.0.0")
    assert listener.said.endswith("with TLS.\n")
    context = ssl.create_default_context(cafile=str(certificate))
    try:
        with (
            socket.create_connection(("127.0.0.1", listener.port)) as sock,
            context.wrap_socket(sock, server_hostname="127.0.0.1") as encrypted,
        ):
            wire = Wire(encrypted)
            assert wire.call("server.Clicks.add", key="tls", n=3) == 3
            assert wire.call("server.Clicks.long_text", key="tls", size=150_000) == "x" * 150_000
            wire.close()
        with dial(listener.port) as wire, contextlib.suppress(ConnectionError):
            wire.send({"id": 1, "method": "lm.ping"})
            assert wire.receive() is None
    finally:
        listener.stop()


def self_signed(directory: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lightmoon")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = directory / "cert.pem", directory / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_beyond_loopback_it_wants_tls_or_to_be_told(host: str) -> None:
    """B60's neighbour: nobody listens in the open by mistake."""
    with pytest.raises(CommandError, match="--insecure"):
        call_command("lightmoon_tcp", "--host", host, "--port", "0")


def test_mistakes_in_its_options_are_explained(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="--tls-key needs --tls-cert"):
        call_command("lightmoon_tcp", "--tls-key", "x")
    with pytest.raises(CommandError, match="can't listen"):
        call_command("lightmoon_tcp", "--tls-cert", str(tmp_path / "none.pem"))
