"""How one actor class lies in one database: its SQL names, and what its rows mean."""

from __future__ import annotations

import decimal
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from lightmoon_django.actor.registry import OWNER_FIELD
from lightmoon_django.actor.schema import ActorSchema
from lightmoon_django.models import Place
from lightmoon_django.persistence import values
from lightmoon_django.persistence.columns import ModelColumns
from lightmoon_django.persistence.store import Snapshot

_EXACT = decimal.Context(prec=decimal.MAX_PREC, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)
_INTEGERS = (models.AutoField, models.BigAutoField, models.SmallAutoField, models.IntegerField, models.BigIntegerField)


class Table:
    """The SQL side of one actor class. Values that come in are prepared ones, rows that go out are snapshots."""

    def __init__(self, schema: ActorSchema, columns: ModelColumns, connection: BaseDatabaseWrapper) -> None:
        meta = columns.model._meta
        quote = connection.ops.quote_name
        self.schema = schema
        self.columns = columns
        self.model = columns.model
        self.fields = columns.fields
        self.transient = self.model is Place  # a row goes when it is given back, and is made whenever it is missing
        self.inherited = any(link is not None for link in meta.parents.values())
        self.name = quote(meta.db_table)
        self.pk_field: values.AnyField = meta.pk
        self.pk_position = self.fields.index(self.pk_field)
        self.pk = quote(_column(self.pk_field))
        self._plain_pk = type(values.root(self.pk_field)) in _INTEGERS
        self.owner = quote(_column(meta.get_field(OWNER_FIELD)))
        self.names = [quote(_column(field)) for field in self.fields]
        self.all_names = [f"{quote(field.model._meta.db_table)}.{quote(_column(field))}" for field in self.fields]
        self.source = _source(meta, quote)
        self._connection = connection
        self._converters = [_converters(field, connection) for field in self.fields]
        self._decode_by = [(i, found) for i, found in enumerate(self._converters) if found]

    def pk_value(self, key: str) -> Any:
        """The key as the database compares it. Raises for one that the column can't hold."""
        if self._plain_pk:
            return int(key)
        field = values.root(self.pk_field)
        return field.get_db_prep_value(field.to_python(key), self._connection, prepared=False)

    def key_of(self, snapshot: Snapshot) -> str:
        """The canonical key of a row."""
        return str(snapshot[self.pk_position])

    def key_from(self, pk: Any) -> str:
        """The canonical key of a primary key as a raw row has it."""
        for convert, expression in self._converters[self.pk_position]:
            pk = convert(pk, expression, self._connection)
        return str(pk)

    def decode(self, row: Sequence[Any]) -> Snapshot:
        """A snapshot from a raw row of all columns, in order."""
        if self._decode_by:
            cells = list(row)
            for i, converters in self._decode_by:
                for convert, expression in converters:
                    cells[i] = convert(cells[i], expression, self._connection)
            row = cells
        return self.columns.freeze(row)

    def same(self, stored: Snapshot, known: Snapshot, changes: Mapping[int, Any] | None = None) -> bool:
        """Whether a row that was read says what this node knows of it, whatever its values' Python types.

        `changes` have been made to it since: values as the database is sent them.
        """
        if stored == known and not changes:
            return True
        mine = {**dict(enumerate(self.columns.prepared(known))), **(changes or {})}
        same = {i for i, value in enumerate(known) if value == stored[i]}.difference(changes or ())
        theirs = enumerate(self.columns.prepared(stored))
        return all(i in same or self._same_prepared(i, mine[i], value) for i, value in theirs)

    def _same_prepared(self, i: int, a: Any, b: Any) -> bool:
        if a is None or b is None:
            return a is b
        return bool(a == b or (a != a and b != b) or (self.is_json(i) and canonical_json(a) == canonical_json(b)))

    def is_json(self, position: int) -> bool:
        return values.is_json(values.root(self.fields[position]))

    def placeholder(self, position: int) -> str:
        """What stands for a prepared value in SQL."""
        field = self.fields[position]
        if self.is_json(position):
            return "%s::jsonb" if self._connection.vendor == "postgresql" else "%s"
        custom = getattr(field, "get_placeholder", None)
        if custom is None:
            return "%s"
        return str(custom(None, _compiler(self.model, self._connection), self._connection))

    def update(self, positions: Iterable[int]) -> str:
        """An UPDATE of those columns; its parameters are their values, the primary key and the owner."""
        assignments = ", ".join(f"{self.names[i]} = {self.placeholder(i)}" for i in positions)
        return f"UPDATE {self.name} SET {assignments} WHERE {self.pk} = %s AND {self.owner} = %s"

    def select(self, count: int, extra: str = "") -> str:
        """A SELECT of `extra`, the owner and all columns of that many primary keys."""
        marks = ", ".join(["%s"] * count)
        return (
            f"SELECT {extra}{self.name}.{self.owner}, {', '.join(self.all_names)} FROM {self.source} "
            f"WHERE {self.name}.{self.pk} IN ({marks}) ORDER BY {self.name}.{self.pk}"
        )


def _column(field: Any) -> str:
    found: str = field.column
    return found


def canonical_json(text: str) -> str:
    """The same text for equal documents, however keys are ordered, spaces set and numbers written."""
    document = json.loads(text, parse_float=decimal.Decimal, parse_int=decimal.Decimal)
    return json.dumps(document, sort_keys=True, default=_canonical_number)


def _canonical_number(number: decimal.Decimal) -> dict[str, str]:
    """No text that a document may hold: those have no NUL."""
    return {"\0": str(number.normalize(_EXACT)) if number else "0"}


def _source(meta: Any, quote: Callable[[str], str]) -> str:
    """The table, joined with those it inherits from."""
    source = quote(meta.db_table)
    joined = {meta.model}
    links = [(parent, link) for parent, link in meta.parents.items() if link is not None]
    while links:
        parent, link = next(pair for pair in links if pair[1].model in joined)
        links.remove((parent, link))
        if parent in joined:
            continue
        joined.add(parent)
        table, child = quote(parent._meta.db_table), quote(link.model._meta.db_table)
        source += f" INNER JOIN {table} ON {table}.{quote(parent._meta.pk.column)} = {child}.{quote(link.column)}"
    return source


def _converters(field: values.AnyField, connection: BaseDatabaseWrapper) -> list[tuple[Any, Any]]:
    expression = field.get_col(field.model._meta.db_table)
    found = connection.ops.get_db_converters(expression) + expression.get_db_converters(connection)
    return [(convert, expression) for convert in found]


def _compiler(model: type[models.Model], connection: BaseDatabaseWrapper) -> Any:
    return model._default_manager.all().query.get_compiler(connection=connection)
