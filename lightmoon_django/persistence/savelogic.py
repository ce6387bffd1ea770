"""Whether saving a model means more than one UPDATE: the reason why its changes must go through `Model.save()`."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models.signals import ModelSignal, post_save, pre_save

from lightmoon_django.actor.registry import OWNER_FIELD
from lightmoon_django.persistence import values

_STEPS = ("save", "save_base", "_save_parents", "_save_table", "_do_update")
_SIGNALS = (("pre_save", pre_save), ("post_save", post_save))


class SaveLogic:
    """One model's save logic. Receivers may come and go at any time, so `reason` looks again whenever they did."""

    def __init__(self, model: type[models.Model], harmless: frozenset[str]) -> None:
        self._model = model
        self._harmless = harmless
        self._declared = _declared(model)
        self._seen: Any = None
        self._reason: str | None = None

    def reason(self) -> str | None:
        """A sentence for people, or None where a plain UPDATE does the same."""
        if self._declared is not None:
            return self._declared
        # A new receiver is always the list's last, and a lost one makes it shorter: cheaper than asking the signal.
        before, after = pre_save.receivers, post_save.receivers
        seen = (len(before), before[-1] if before else None, len(after), after[-1] if after else None)
        if seen != self._seen:
            self._reason = self._received()
            self._seen = seen
        return self._reason

    def _received(self) -> str | None:
        for name, signal in _SIGNALS:
            for receiver in _live(signal, self._model):
                if not self._ignored(receiver):
                    return f"{self._model.__name__} has the {name} receiver {_path(receiver)}."
        return None

    def _ignored(self, receiver: Any) -> bool:
        path = _path(receiver)
        return path.startswith("lightmoon_django.") or path in self._harmless


def _declared(model: type[models.Model]) -> str | None:
    if any(link is not None for link in model._meta.parents.values()):
        return f"{model.__name__} inherits a table of its own parent, which takes an UPDATE of each."
    for step in _STEPS:
        if _plain(getattr(model, step)) is not getattr(models.Model, step):
            return f"{model.__name__} overrides {step}()."
    for field in model._meta.concrete_fields:
        if field.name != OWNER_FIELD and values.has_own_pre_save(field):
            return f"{model.__name__}.{field.name} has a pre_save() of its own."
    return None


def _plain(method: Any) -> Any:
    """The method under LightMoon's own wrapper (see `OwnerField.attach`)."""
    while getattr(method, "__module__", "") == "lightmoon_django.fields" and hasattr(method, "__wrapped__"):
        method = method.__wrapped__
    return method


def _live(signal: ModelSignal, model: type[models.Model]) -> list[Any]:
    plain, coroutines = signal._live_receivers(model)
    return [*plain, *coroutines]


def _path(receiver: Any) -> str:
    function = getattr(receiver, "__func__", receiver)
    module = getattr(function, "__module__", type(function).__module__)
    return f"{module}.{getattr(function, '__qualname__', type(function).__qualname__)}"
