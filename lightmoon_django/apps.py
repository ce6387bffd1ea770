"""The Django app."""

from __future__ import annotations

from django.apps import AppConfig


class LightMoonConfig(AppConfig):
    """Lets refs reach the host, and the host hear of rows that other code writes."""

    name = "lightmoon_django"
    label = "lightmoon"
    verbose_name = "LightMoon"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from lightmoon_django import checks, signals
        from lightmoon_django.actor import ref
        from lightmoon_django.host import host

        ref.install(host)
        signals.connect()
        checks.register()
