"""`manage.py lightmoon_codegen`: writes what clients in other languages are made of."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from lightmoon_django.proxies import openrpc, typescript


def _openrpc() -> str:
    return json.dumps(openrpc.document(), indent=2, ensure_ascii=False) + "\n"


GENERATORS: dict[str, tuple[str, Callable[[], str]]] = {
    "typescript": ("lightmoon.d.ts", typescript.declarations),
    "openrpc": ("openrpc.json", _openrpc),
}


class Command(BaseCommand):
    """The same actors give the same bytes. A file that is right already is left alone, so that watchers stay calm."""

    help = "Generates typed clients, or what generators of other languages read, from the actors of this project."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--typescript", action="store_true", help="lightmoon.d.ts: the types of the served JavaScript modules."
        )
        parser.add_argument("--openrpc", action="store_true", help="openrpc.json: the OpenRPC document.")
        parser.add_argument("--output", type=pathlib.Path, help="The directory to write to, instead of stdout.")

    def handle(self, *args: Any, output: pathlib.Path | None, **options: Any) -> None:
        wanted = [GENERATORS[name] for name in GENERATORS if options[name]]
        if not wanted:
            raise CommandError("Say what to generate: --typescript or --openrpc.")
        if output is None:
            if len(wanted) > 1:
                raise CommandError("Two documents don't fit on stdout. Name a directory: --output DIR.")
            self.stdout.write(wanted[0][1](), ending="")
            return
        output.mkdir(parents=True, exist_ok=True)
        for name, generate in wanted:
            self._write(output / name, generate().encode())

    def _write(self, path: pathlib.Path, content: bytes) -> None:
        if path.exists() and path.read_bytes() == content:
            self.stdout.write(f"{path} is up to date.")
            return
        path.write_bytes(content)
        self.stdout.write(f"Wrote {path}.")
