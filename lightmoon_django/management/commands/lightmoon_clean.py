"""`manage.py lightmoon_clean`: deletes what nobody asks for any more. Meant for cron."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import DEFAULT_DB_ALIAS, connections

from lightmoon_django.persistence import places
from lightmoon_django.persistence.answers import clean_all
from lightmoon_django.persistence.wallclock import system_clock


class Command(BaseCommand):
    """Runs beside live nodes: its transactions are short."""

    help = (
        "Deletes stored answers of `once` calls that have expired (see LIGHTMOON['CALL_RETENTION']), and the places of "
        "actors in memory only that no living node has."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--database", default=DEFAULT_DB_ALIAS, choices=tuple(connections), help="Which database to clean."
        )

    def handle(self, *args: Any, database: str, **options: Any) -> None:
        gone = clean_all(database, system_clock())
        self.stdout.write(f"Deleted {gone} expired answers from {database!r}.")
        if left := places.clean(database):
            self.stdout.write(f"Deleted {left} places of actors in memory only, which no living node has.")
