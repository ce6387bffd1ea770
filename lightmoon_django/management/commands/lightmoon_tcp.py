"""`manage.py lightmoon_tcp`: a process that serves clients over TCP, and hosts actors."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import ssl
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from lightmoon_django import conf
from lightmoon_django.gateway.tcp import Server
from lightmoon_django.host import host as node_host


class Command(BaseCommand):
    """Runs until SIGINT or SIGTERM: then it tells its clients, and hands its actors to the other processes."""

    help = "Serves JSON-RPC clients over TCP, framed by Content-Length headers as language servers are."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="Where to listen. Beyond loopback it needs TLS.")
        parser.add_argument("--port", type=int, default=7780, help="0: any that is free.")
        parser.add_argument("--tls-cert", help="A PEM file with the certificate and its chain.")
        parser.add_argument("--tls-key", help="A PEM file with its key, if that isn't in the first file.")
        parser.add_argument("--insecure", action="store_true", help="Listen beyond loopback without TLS.")
        parser.add_argument("--grace", type=float, default=10.0, help="Seconds that turns may take to end at a stop.")

    def handle(
        self, *args: Any, host: str, tls_cert: str | None, tls_key: str | None, insecure: bool, **options: Any
    ) -> None:
        if tls_key and not tls_cert:
            raise CommandError("--tls-key needs --tls-cert.")
        if not (tls_cert or insecure or _is_loopback(host)):
            raise CommandError(
                f"{host} is not loopback, and without TLS anybody on the way can read and change what is sent. "
                "Give --tls-cert and --tls-key; or --insecure, where the network itself is safe."
            )
        try:
            tls = _context(tls_cert, tls_key) if tls_cert else None
            asyncio.run(self._run(host, options["port"], tls, options["grace"]))
        except OSError as error:  # ssl.SSLError too
            raise CommandError(f"It can't listen on {host}:{options['port']}: {error}") from error

    async def _run(self, host: str, port: int, tls: ssl.SSLContext | None, grace: float) -> None:
        over, loop = asyncio.Event(), asyncio.get_running_loop()
        server = Server(conf.settings().MAX_REQUEST_BYTES)
        node_host.on_this_loop()
        try:
            for one in (signal.SIGINT, signal.SIGTERM):  # not the loop's handlers: `gateway.farewell` goes before these
                signal.signal(one, lambda *_: loop.call_soon_threadsafe(over.set))
            found = await server.start(host, port, tls)
            self.stdout.write(f"Listening on {host}:{found}{' with TLS' if tls else ''}.")
            self.stdout.flush()
            await over.wait()
        finally:
            await node_host.shut_down(grace)
            await server.stop()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _context(cert: str, key: str | None) -> ssl.SSLContext:
    found = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    found.load_cert_chain(cert, key)
    return found
