"""`python -m bench.remind fill|burst|clear N`: reminders of the counters, and how late they fire in a server.

`burst` sets N of them that come due within one second, waits for them, and prints a JSON list of seconds.
"""

from __future__ import annotations

import json
import sys
import time

YEAR = 365 * 86_400 * 1_000_000  # microseconds
SECOND = 1_000_000
LEAD = 3 * SECOND  # from setting the burst to its first due time
PATIENCE = 60.0  # seconds


def fill(count: int) -> None:
    """Reminders that are due in a year."""
    _store(f"pending-{n}" for n in range(count))


def burst(count: int) -> None:
    from bench.project.models import Counter
    from lightmoon_django.models import Reminder

    Counter.objects.filter(pk__lte=count).update(count=-1)
    start = time.time_ns() // 1000 + LEAD
    _store((f"burst-{n}" for n in range(count)), lambda n: start + SECOND * n // count)
    until = time.monotonic() + PATIENCE
    while Reminder.objects.filter(name__startswith="burst-").exists() and time.monotonic() < until:
        time.sleep(0.2)
    late = Counter.objects.filter(pk__lte=count).values_list("count", flat=True)
    print(json.dumps([value / SECOND if value >= 0 else PATIENCE for value in late]))


def clear(_: int) -> None:
    from lightmoon_django.models import Reminder

    Reminder.objects.all().delete()


def _store(names, due=None) -> None:  # type: ignore[no-untyped-def]
    import secrets

    from bench.project.models import Counter
    from lightmoon_django.actor import registry
    from lightmoon_django.models import Reminder

    message = registry.schema_of(Counter).messages["ring"]
    later = time.time_ns() // 1000 + YEAR
    rows = []
    for n, name in enumerate(names):
        moment = later + n if due is None else due(n)
        rows.append(
            Reminder(
                actor="bench.Counter",
                key=str(n % 20_000 + 1),
                name=name,
                generation=secrets.randbits(63),
                message="ring",
                payload=message.signature.bind((moment,), {}),
                due_at=moment,
                wake_at=moment,
            )
        )
    Reminder.objects.bulk_create(rows, batch_size=1000)


if __name__ == "__main__":
    import django

    django.setup()
    {"fill": fill, "burst": burst, "clear": clear}[sys.argv[1]](int(sys.argv[2]))
