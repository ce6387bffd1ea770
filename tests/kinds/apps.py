from __future__ import annotations

from django.apps import AppConfig


class KindsConfig(AppConfig):
    """Actors of every kind of model, reached by their messages."""

    name = "tests.kinds"
    label = "kinds"
