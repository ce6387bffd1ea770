"""`manage.py lightmoon_node`: a process that hosts actors and serves no HTTP."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from lightmoon_django.conf import is_role
from lightmoon_django.host import host


class Command(BaseCommand):
    """Runs until SIGINT or SIGTERM, and then hands its actors to the other processes."""

    help = "Hosts actors beside the web servers: takes over those of nodes that stop, and fires reminders."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--role",
            action="append",
            default=[],
            metavar="NAME",
            help="A role of this process, in the place of LIGHTMOON['ROLES']. May be given several times.",
        )
        parser.add_argument("--grace", type=float, default=10.0, help="Seconds that turns may take to end at a stop.")

    def handle(self, *args: Any, grace: float, role: list[str], **options: Any) -> None:
        for name in role:
            if not is_role(name):
                raise CommandError(f"{name!r} is no name of a role: use letters, digits, dots, dashes and underscores.")
        host.roles = tuple(role)
        asyncio.run(self._run(grace))

    async def _run(self, grace: float) -> None:
        over, loop = asyncio.Event(), asyncio.get_running_loop()
        for one in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(one, over.set)
        host.on_this_loop()
        self.stdout.write("Hosting actors.")
        self.stdout.flush()
        await over.wait()
        await host.shut_down(grace)
