"""The actors that the runtime's tests call."""

from django.apps import AppConfig


class LiveConfig(AppConfig):
    name = "tests.live"
    label = "live"
    default_auto_field = "django.db.models.BigAutoField"
