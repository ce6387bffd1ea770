"""`manage.py check`: mistakes named before anything runs, each with what to do about it.

`declarations` looks at actor classes, `project` at settings, `layers` at what links go by, `databases` at what the
databases themselves say (`manage.py check --database default`). The ids are listed in docs/checks.md and stay what they
are.
"""

from __future__ import annotations

from django.core import checks

from lightmoon_django.checks import databases, declarations, layers, project

TAG = "lightmoon"


def register() -> None:
    """Add all checks to Django's. May be called again."""
    checks.register(declarations.check_actors, TAG)
    checks.register(declarations.check_forgotten, TAG)
    checks.register(project.check_settings, TAG)
    checks.register(project.check_installed_apps, TAG)
    checks.register(project.check_connections, TAG)
    checks.register(layers.check_layer, TAG)
    checks.register(layers.check_nodes, TAG, checks.Tags.database)
    checks.register(databases.check_engines, TAG, checks.Tags.database)
    checks.register(databases.check_tables, TAG, checks.Tags.database)
