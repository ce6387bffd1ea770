"""What users of LightMoon test their actors with. Production code never imports it.

General layout:

- `plugin`: the fixtures for pytest; `mixin`: the same for Django's test cases.
- `kit`: what one test has, and the fresh node that has it too.
- `settling`: waits until nothing is under way; `stillness` tells what is, and `report` puts it into words.
- `clock`: time that stands still until the test moves it; `driving` moves it on the node's own loop, and `reminding`
  fires durable reminders on the way.
- `recorder`: the events and patches that actors let out.
- `faults`: what goes wrong on purpose; `faultystore` is where it does.
- `bridge`: runs something on the node's loop while the calling thread does the database's work.

docs/testing.md shows how it is used.
"""

from lightmoon_django.testing.mixin import LightMoonTestMixin
from lightmoon_django.testrun import real_threads

__all__ = ["LightMoonTestMixin", "real_threads"]
