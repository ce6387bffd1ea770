"""The fields of a model actor: instance to snapshot and back, and what to write of a change.

The hot path is `snapshot`, twice per turn: for a model whose values are all immutable it is one `operator.itemgetter`
over the instance's `__dict__`, so that an unchanged turn costs one tuple and its comparison.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from lightmoon_django.actor.registry import OWNER_FIELD
from lightmoon_django.actor.schema import ActorSchema
from lightmoon_django.persistence import values
from lightmoon_django.persistence.savelogic import SaveLogic
from lightmoon_django.persistence.store import Snapshot

Read = Callable[[dict[str, Any]], Snapshot]


def stored_fields(model: type[models.Model]) -> tuple[values.AnyField, ...]:
    """The columns that make up an actor's state, in the order of `ActorSchema.fields`."""
    return tuple(field for field in model._meta.concrete_fields if field.name != OWNER_FIELD)


class ModelColumns:
    """The columns of one model on one database."""

    def __init__(self, schema: ActorSchema, connection: BaseDatabaseWrapper, harmless: Iterable[str] = ()) -> None:
        """`connection` is only asked how values are prepared; it is never opened. `harmless` names receivers."""
        self.model: type[models.Model] = schema.cls
        self.alias = connection.alias
        self.names = schema.fields
        self.fields = stored_fields(self.model)
        self._read = reader(self.names)
        self._freeze = _compiled(self.fields, values.freezer)
        self._thaw = _compiled(self.fields, values.thawer)
        self._normalize = dict(_compiled(self.fields, values.normalizer))
        self._prepare = [values.preparer(field, connection) for field in self.fields]
        self._as_read = dict(_compiled(self.fields, values.reader))
        self._automatic = [(i, field) for i, field in enumerate(self.fields) if values.sets_itself(field)]
        self._pk = self.fields.index(self.model._meta.pk)
        self.generated = tuple(i for i, field in enumerate(self.fields) if field.generated)
        self._links: list[Any] = [field for field in self.fields if field.is_relation]
        self.related = bool(self._links)
        self._attnames = [field.attname for field in self.model._meta.concrete_fields]
        self._owner = self._attnames.index(OWNER_FIELD)
        self._logic = SaveLogic(self.model, frozenset(harmless))

    @property
    def barrier(self) -> str | None:
        return self._logic.reason()

    def adopt_related(self, instance: Any) -> None:
        cache = instance._state.fields_cache
        if not cache:
            return
        for field in self._links:
            related = cache.get(field.cache_name)
            if related is not None and instance.__dict__.get(field.attname) in field.empty_values:
                instance.__dict__[field.attname] = self._key_of(field, related)
        cache.clear()

    def _key_of(self, field: Any, related: models.Model) -> Any:
        key = getattr(related, field.target_field.attname)
        if key is None:
            raise ValueError(
                f"{self.model.__name__}.{field.name} is a {type(related).__name__} that has no key yet, so the column "
                "would stay empty. Save it before it is set: in a `def` message, or in an actor of its own."
            )
        return key

    def forget_related(self, instance: Any) -> None:
        if instance._state.fields_cache:
            instance._state.fields_cache.clear()

    def defaults(self) -> Snapshot:
        return self.snapshot(self.model())

    def make(self, snapshot: Snapshot, key: str) -> Any:
        row = list(self.thaw(snapshot))
        row.insert(self._owner, None)
        return self.model.from_db(self.alias, self._attnames, row)

    def snapshot(self, instance: Any) -> Snapshot:
        try:
            found = self._read(instance.__dict__)
        except KeyError:  # an attribute was deleted: reading it as Django does loads or refuses it
            found = tuple(getattr(instance, name) for name in self.names)
        return self.freeze(found) if self._freeze else found

    def freeze(self, row: Iterable[Any]) -> Snapshot:
        """A snapshot from Python values in the order of the fields."""
        return _converted(row, self._freeze)

    def thaw(self, snapshot: Snapshot) -> Snapshot:
        """Fresh Python values from a snapshot."""
        return _converted(snapshot, self._thaw) if self._thaw else snapshot

    def value(self, snapshot: Snapshot, position: int) -> Any:
        for i, thaw in self._thaw:
            if i == position:
                return thaw(snapshot[i])
        return snapshot[position]

    def restore(self, instance: Any, snapshot: Snapshot) -> None:
        state = instance.__dict__
        instance._state.fields_cache.clear()
        state.pop("_prefetched_objects_cache", None)
        state.update(zip(self.names, self.thaw(snapshot), strict=True))

    def regenerate(self, instance: Any, snapshot: Snapshot) -> None:
        for i in self.generated:
            instance.__dict__[self.names[i]] = self.value(snapshot, i)

    def changes(self, before: Snapshot, after: Snapshot, instance: Any) -> tuple[Snapshot, dict[int, Any]]:
        changed: dict[int, Any] = {}
        final = after
        for i, value in enumerate(after):
            old = before[i]
            if old is value or old == value:
                continue
            if i in self._normalize or i in self.generated:
                value = self._settled(i, old, value, instance)
                final = (*final[:i], value, *final[i + 1 :])
                if old == value:
                    continue
            prepared = self._prepared(i, value)
            if prepared is not value and (read := self._as_read.get(i)) is not None:
                value = read(prepared)
                instance.__dict__[self.names[i]] = value
                final = (*final[:i], value, *final[i + 1 :])
                if old == value:
                    continue
            changed[i] = prepared
        if changed and self._automatic:
            final = self._apply_automatic(final, changed, instance)
        return final, changed

    def prepared(self, snapshot: Snapshot) -> Snapshot:
        """All values as the database is sent them, to compare what means the same. Generated ones count as None."""
        return tuple(
            None if i in self.generated or value is None else self._prepare[i](value)
            for i, value in enumerate(snapshot)
        )

    def _settled(self, i: int, old: Any, value: Any, instance: Any) -> Any:
        """The value that memory must show: a generated column's own, or a decimal in its column's scale."""
        value = old if i in self.generated else self._normalize[i](value)
        instance.__dict__[self.names[i]] = value
        return value

    def _prepared(self, i: int, value: Any) -> Any:
        if i == self._pk:
            raise ValueError(f"{self.model.__name__}.{self.names[i]} is the actor's key and can't change.")
        return self._prepare[i](value)

    def _apply_automatic(self, final: Snapshot, changed: dict[int, Any], instance: Any) -> Snapshot:
        row = list(final)
        for i, field in self._automatic:
            row[i] = field.pre_save(instance, False)
            changed[i] = self._prepare[i](row[i])
        return tuple(row)


def reader(names: tuple[str, ...]) -> Read:
    """From an instance's `__dict__` to the tuple of its values. Raises `KeyError` for one that is missing."""
    if len(names) == 1:
        name = names[0]
        return lambda state: (state[name],)
    if not names:
        return lambda state: ()
    return operator.itemgetter(*names)


def _compiled(
    fields: tuple[values.AnyField, ...], compile_one: Callable[[values.AnyField], values.Convert | None]
) -> list[tuple[int, values.Convert]]:
    found = [(i, compile_one(field)) for i, field in enumerate(fields)]
    return [(i, convert) for i, convert in found if convert is not None]


def _converted(row: Iterable[Any], converts: list[tuple[int, values.Convert]]) -> Snapshot:
    result = list(row)
    for i, convert in converts:
        result[i] = convert(result[i])
    return tuple(result)
