"""The hidden column that makes a row its own lease."""

from __future__ import annotations

from typing import Any

from django.db import models

COMMIT_MARK = "_lightmoon_commit"  # in an instance's __dict__ while LightMoon itself saves it: the owner to keep


class OwnerField(models.BigIntegerField):  # type: ignore[type-arg]
    """The incarnation of the node that holds this row's actor; NULL when none does.

    Any ordinary `save()` writes NULL, which takes the row from a live activation: its next commit is refused and its
    next turn runs on what was saved. LightMoon's own saves carry `COMMIT_MARK` and keep the owner.
    """

    description = "Owner of a LightMoon actor"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.update(null=True, blank=True, editable=False, serialize=False, db_index=False)
        kwargs.setdefault("default", None)
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        for implied in ("null", "blank", "editable", "serialize", "default"):
            kwargs.pop(implied, None)
        return name, path, args, kwargs

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        owner = model_instance.__dict__.get(COMMIT_MARK)
        setattr(model_instance, self.attname, owner)
        return owner

    @classmethod
    def attach(cls, model: type[models.Model], name: str) -> None:
        """Add the column to a model, and to the `update_fields` of every save that names some."""
        model.add_to_class(name, cls())
        save_base = model.save_base

        def lightmoon_save_base(self: Any, *args: Any, **kwargs: Any) -> None:
            fields = kwargs.get("update_fields")
            if fields and not kwargs.get("raw") and COMMIT_MARK not in self.__dict__:
                kwargs["update_fields"] = frozenset(fields) | {name}
            save_base(self, *args, **kwargs)

        lightmoon_save_base.__wrapped__ = save_base  # type: ignore[attr-defined]
        model.save_base = lightmoon_save_base  # type: ignore[method-assign]
