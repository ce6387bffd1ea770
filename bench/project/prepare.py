"""`python -m bench.project.prepare ROWS PLAIN_ROWS`: makes the tables and fills them."""

from __future__ import annotations

import os
import sys


def main(rows: int, plain_rows: int) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.project.settings")
    import django

    django.setup()
    from django.core.management import call_command

    from bench.project.models import Counter, PlainCounter

    call_command("migrate", run_syncdb=True, verbosity=0)
    Counter.objects.bulk_create((Counter(pk=n) for n in range(1, rows + 1)), batch_size=500)
    PlainCounter.objects.bulk_create((PlainCounter(pk=n) for n in range(1, plain_rows + 1)), batch_size=500)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
