"""The Django app."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig


class LightMoonConfig(AppConfig):
    """Lets refs reach the host, and the host hear of rows that other code writes."""

    name = "lightmoon_django"
    label = "lightmoon"
    verbose_name = "LightMoon"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.apps import apps

        from lightmoon_django import checks, kinds, signals
        from lightmoon_django.actor import ref, view
        from lightmoon_django.host import host
        from lightmoon_django.persistence import strays

        ref.install(host)
        signals.connect()
        strays.connect()
        if apps.is_installed("django.contrib.auth"):
            from lightmoon_django import access  # it needs the user model

            access.connect()
        checks.register()
        view.install(_serializer_view)
        kinds.install(_kind)


def _serializer_view(actor: type, given: type) -> Any:
    from lightmoon_django.contrib.rest_framework.serializer_view import serializer_view  # only when it is needed

    return serializer_view(actor, given)


def _kind(actor: type, reference: Any) -> Any:
    from lightmoon_django.actorkinds import kind_of  # only where a client asks for it

    return kind_of(actor, reference)
