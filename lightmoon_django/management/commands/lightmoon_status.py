"""`manage.py lightmoon_status`: which nodes there are, and how many actors each owns."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import DEFAULT_DB_ALIAS, connections, router

from lightmoon_django.actor import registry
from lightmoon_django.models import Place
from lightmoon_django.persistence.census import Standing, census


class Command(BaseCommand):
    """Only reads; may run beside live nodes at any time."""

    help = "Shows the nodes of a database, and how many actors of each class they own."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--database", default=DEFAULT_DB_ALIAS, choices=tuple(connections), help="Which database to look at."
        )
        parser.add_argument("--all", action="store_true", help="Show nodes that are dead and own nothing, too.")

    def handle(self, *args: Any, database: str, **options: Any) -> None:
        schemas = [registry.schema_of(cls) for cls in registry.registered()]
        here = [one for one in schemas if router.db_for_write(one.cls if one.persistent else Place) == database]
        shown = [one for one in census(database, here) if options["all"] or one.owned or not one.node.dead]
        for standing in shown:
            self.stdout.write(_line(standing))
        if not shown:
            self.stdout.write(f"No node hosts actors of {database!r}.")


def _line(standing: Standing) -> str:
    node = standing.node
    if node.dead:
        state = "dead"
    elif standing.seconds <= 0:
        state = f"silent for {-standing.seconds:.1f} s past its lease"
    else:
        state = f"alive, lease for {standing.seconds:.1f} s"
    owned = [f"{count} {name}" for name, count in sorted(standing.owned.items())]
    if node.alone and not node.dead:
        owned.append("all that are in memory only")
    return f"{node.pk}  process {node.pid}  {state}  {', '.join(owned) or 'no actors'}"
