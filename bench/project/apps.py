from __future__ import annotations

import os

from django.apps import AppConfig


class BenchConfig(AppConfig):
    name = "bench.project"
    label = "bench"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """`BENCH_MACHINE` names another machine: no socket leads there, and nobody can prove its processes dead."""
        if machine := os.environ.get("BENCH_MACHINE"):
            from lightmoon_django.persistence import process

            process._host = lambda: machine
