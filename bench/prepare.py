"""`python -m bench.prepare MODEL ROWS`: makes the tables of the settings' apps and fills one of them."""

from __future__ import annotations

import sys


def main(model: str, rows: int) -> None:
    import django

    django.setup()
    from django.apps import apps
    from django.core.management import call_command

    call_command("migrate", run_syncdb=True, verbosity=0)
    manager = apps.get_model(model)._default_manager
    manager.bulk_create((manager.model(pk=n) for n in range(1, rows + 1)), batch_size=500)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
