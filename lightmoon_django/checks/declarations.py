"""Checks of actor classes: what can't be sent, can't be stored, or can't be reached."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error, Info, Warning
from django.db.models import Model

from lightmoon_django import conf
from lightmoon_django.actor import placement, registry
from lightmoon_django.actor.decorators import Event, Message
from lightmoon_django.actor.schema import SchemaError
from lightmoon_django.checks import members, names, rows
from lightmoon_django.persistence.savelogic import SaveLogic


def check_actors(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Every actor of the given apps, or of all."""
    actors = [cls for cls in registry.registered() if _belongs(cls, app_configs)]
    return [*_same_names(actors), *(found for cls in actors for found in check_actor(cls))]


def check_actor(cls: type) -> list[CheckMessage]:
    """One actor class."""
    found: list[CheckMessage] = []
    if issubclass(cls, Model):
        found += rows.check(cls)
    found += names.check(cls)
    found += members.check(cls)
    found += _options(cls)
    if not any(one.is_serious() for one in found):
        found += _schema(cls)
        found += _save_logic(cls)
    return found


def check_forgotten(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Models with messages that nobody made an actor."""
    models = [model for model in apps.get_models() if _belongs(model, app_configs)]
    return [
        Warning(
            f"{model.__name__} has messages but is not an actor.",
            hint="Decorate the class with @actor, above its other decorators.",
            obj=model,
            id="lightmoon.W002",
        )
        for model in models
        if _has_messages(model) and not any(registry.is_actor(one) for one in model.__mro__)
    ]


def _belongs(cls: type, app_configs: Sequence[AppConfig] | None) -> bool:
    label = registry.name_of(cls).partition(".")[0]
    if issubclass(cls, Model) and cls._meta.apps is not apps:
        return False
    return app_configs is None or label in {config.label for config in app_configs}


def _has_messages(model: type[Model]) -> bool:
    return any(isinstance(value, (Message, Event)) for one in model.__mro__ for value in vars(one).values())


def _same_names(actors: Iterable[type]) -> Iterator[CheckMessage]:
    seen: dict[str, type] = {}
    for cls in actors:
        name = registry.name_of(cls)
        if name in seen:
            yield Error(
                f"{name} names two actors: {_path(cls)} and {_path(seen[name])}.",
                hint="Rename one of the classes: the app's label and the class name are the name on the wire.",
                obj=cls,
                id="lightmoon.E013",
            )
        seen[name] = cls


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _options(cls: type) -> Iterator[CheckMessage]:
    options = registry.options_of(cls)
    yield from members.check_permissions(cls, cls.__name__, options.permission_classes)
    yield from members.check_permissions(cls, cls.__name__, options.subscription_permission_classes)
    wrong = placement.mistake(cls.__name__, options.placement)
    if wrong is not None:
        yield Error(str(wrong), hint=wrong.hint, obj=cls, id="lightmoon.E012")


def _schema(cls: type) -> Iterator[CheckMessage]:
    try:
        registry.schema_of(cls)
    except SchemaError as error:
        yield Error(str(error), hint=error.hint, obj=cls, id="lightmoon.E007")


def _save_logic(cls: type) -> Iterator[CheckMessage]:
    """What makes each of its commits a transaction of its own."""
    if not issubclass(cls, Model):
        return
    reason = SaveLogic(cls, frozenset(conf.settings().HARMLESS_RECEIVERS)).reason()
    if reason is not None:
        yield Info(
            f"{reason} So each turn that changes one commits alone, through its save().",
            hint="That is correct but slow. Move the logic into messages, or list a harmless receiver in "
            "LIGHTMOON['HARMLESS_RECEIVERS'].",
            obj=cls,
            id="lightmoon.I001",
        )
