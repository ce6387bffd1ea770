"""The actor that the model-based tests drive."""

from django.apps import AppConfig


class ModelConfig(AppConfig):
    name = "tests.model"
    label = "model"
    default_auto_field = "django.db.models.BigAutoField"
