"""Outside writes in this process: a saved or deleted row takes its actor out of memory once it is committed."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Model
from django.db.models.signals import post_delete, post_save

from lightmoon_django.actor import registry
from lightmoon_django.fields import COMMIT_MARK
from lightmoon_django.host import host


def row_changed(sender: type[Model], instance: Model, using: str, **_: Any) -> None:
    """Evict the actor of a row that other code wrote, after that code's transaction."""
    model = sender._meta.concrete_model
    if model is None or COMMIT_MARK in instance.__dict__ or instance.pk is None or host.node is None:
        return
    for one in (model, *model._meta.get_parent_list()):  # with a row its parents' rows are written
        if registry.is_actor(one):
            _evict(one, getattr(instance, one._meta.pk.attname), using)


def _evict(model: type[Model], pk: Any, using: str) -> None:
    key = str(model._meta.pk.to_python(pk))
    transaction.on_commit(lambda: host.evict(registry.schema_of(model), key), using=using)


def connect() -> None:
    """Listen to all models' saves and deletes."""
    post_save.connect(row_changed, dispatch_uid="lightmoon.saved")
    post_delete.connect(row_changed, dispatch_uid="lightmoon.deleted")
