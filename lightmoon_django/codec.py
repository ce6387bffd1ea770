"""Bytes to values and back. Only it and `hints` know msgspec.

Two encodings: JSON towards clients, MessagePack between actors (it keeps 64-bit integers and non-finite floats).
Both are typed: a `Shape` is built once from a type hint and then checks while it decodes. On the wire a shape is
stricter: integers stay within ±2^53, datetimes carry a zone under USE_TZ, decimals are finite, strings have no NUL.
"""

from __future__ import annotations

import copy
import datetime
import decimal
import enum
import functools
import sys
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import msgspec.inspect

from lightmoon_django import hints
from lightmoon_django.errors import InvalidParams, InvalidRequest, ParseError
from lightmoon_django.unsafe import SUSPECT, refuse_unsafe

UNSET = msgspec.UNSET
UnsetType = msgspec.UnsetType
Raw = msgspec.Raw

_SCALARS = frozenset({int, str, bool, type(None)})


Mark = Annotated[str, msgspec.Meta(max_length=16)]  # a stranger's text, which all who follow the actor get


class Envelope(msgspec.Struct, gc=False):
    """One JSON-RPC 2.0 request or notification with its parts still encoded."""

    jsonrpc: str | UnsetType = UNSET
    method: str | UnsetType = UNSET
    id: Raw | UnsetType = UNSET
    params: Raw | UnsetType = UNSET
    result: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET
    mark: Mark | UnsetType = UNSET


_envelope = msgspec.json.Decoder(Envelope)
_raw_list = msgspec.json.Decoder(list[Raw])
_anything = msgspec.json.Decoder()
_identifier = msgspec.json.Decoder(str | int | float | None)


def decode_envelope(frame: str | bytes | Raw) -> Envelope:
    """One message. Raises `ParseError` for what is not JSON and `InvalidRequest` for what is not a request object."""
    try:
        return _envelope.decode(frame)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"Not a JSON-RPC request: {error}") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ParseError(f"Not valid JSON: {error}") from None


def decode_items(frame: str | bytes | Raw) -> list[Raw]:
    """The items of a JSON array, still encoded. Raises `ParseError`."""
    try:
        return _raw_list.decode(frame)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ParseError(f"Not a valid JSON array: {error}") from None


def decode_any(frame: str | bytes | Raw) -> Any:
    """Untyped JSON. Raises `ParseError`."""
    try:
        return _anything.decode(frame)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ParseError(f"Not valid JSON: {error}") from None


def decode_id(raw: bytes | Raw) -> str | float | None:
    """The id of a request. Raises `InvalidRequest` for anything but a string, a number or null."""
    try:
        found: str | float | None = _identifier.decode(raw)
        return found
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise InvalidRequest(f"An id is a string, a number or null: {error}") from None


class Linked:
    """Base of values that travel as a string key: refs. Decoded by their class's `from_key`."""

    __slots__ = ()
    key: str

    @classmethod
    def from_key(cls, key: str) -> Linked:
        raise NotImplementedError


def _encode_hook(value: Any) -> Any:
    if isinstance(value, Linked):
        return value.key
    key = getattr(value, "lightmoon_key", None)  # an actor's instance stands for its ref
    if isinstance(key, str):
        return key
    raise TypeError(
        f"{type(value).__name__} can't be sent; use plain values, dataclasses, TypedDicts or msgspec.Struct"
    )


def _decode_hook(wanted: type, value: Any) -> Any:
    if issubclass(wanted, Linked) and isinstance(value, str):
        return wanted.from_key(value)
    raise TypeError(f"Expected `{wanted.__name__}`, got `{type(value).__name__}`")


_json = msgspec.json.Encoder(enc_hook=_encode_hook)
_msgpack = msgspec.msgpack.Encoder(enc_hook=_encode_hook)


def encode_json(value: Any) -> bytes:
    """JSON for a client. Raises `TypeError`, `ValueError` or `OverflowError` for what can't be carried."""
    try:
        return _json.encode(value)
    except (RecursionError, msgspec.MsgspecError) as error:
        raise _unencodable(error) from None


def encode_local(value: Any) -> bytes:
    """MessagePack between actors; raises like `encode_json`."""
    try:
        return _msgpack.encode(value)
    except (RecursionError, msgspec.MsgspecError) as error:
        raise _unencodable(error) from None


def plain_local(payload: bytes) -> Any:
    """What `encode_local` made, for people to read: without the types that hints would give."""
    return msgspec.msgpack.decode(payload)


def _unencodable(error: Exception) -> Exception:
    if isinstance(error, RecursionError):
        return ValueError("The value is nested too deeply, or contains itself.")
    return TypeError(str(error))


class Shape:
    """One type hint, ready to encode, decode and check. `substitute` maps classes in the hint to what travels."""

    __slots__ = ("_local", "_scalar", "_suspect", "_wire", "hint")

    def __init__(self, hint: Any, substitute: Callable[[Any], Any] = lambda hint: hint, *, zoned: bool = True) -> None:
        """Raises `TypeError` when the hint can't be carried."""
        self.hint = hints.rebuild(hint, substitute)
        _refuse_foreign(self.hint)
        wire = hints.rebuild(self.hint, functools.partial(hints.strict, zoned=zoned))
        self._wire = msgspec.json.Decoder(wire, dec_hook=_decode_hook)
        self._local = msgspec.msgpack.Decoder(self.hint, dec_hook=_decode_hook)
        self._scalar = hint if hint in _SCALARS else None
        self._suspect = hints.mentions(self.hint, SUSPECT)

    def from_wire(self, raw: bytes | Raw) -> Any:
        """Decode what a client sent. Raises `InvalidParams` with the path."""
        try:
            value = self._wire.decode(raw)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise _invalid(error) from None
        if self._suspect:
            refuse_unsafe(value)
        return value

    def from_local(self, payload: bytes) -> Any:
        """Decode what another actor sent. Raises `InvalidParams` with the path."""
        try:
            return self._local.decode(payload)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise _invalid(error) from None

    def to_wire(self, value: Any) -> bytes:
        """Encode a result for a client, checked against its hint.

        Raises `TypeError`, `ValueError` or `InvalidParams`.
        """
        payload = encode_json(value)
        if type(value) is not self._scalar or (self._scalar is int and abs(value) > hints.SAFE_INTEGER):
            self.from_wire(payload)
        return payload

    def to_local(self, value: Any) -> bytes:
        """Encode for another actor, checked against the hint. Raises like `to_wire`."""
        payload = encode_local(value)
        if type(value) is not self._scalar:
            self.from_local(payload)
        return payload


def weigh(frame: str) -> int:
    """Bytes that a frame occupies while it waits."""
    return len(frame) if frame.isascii() else sys.getsizeof(frame)


def _invalid(error: Exception) -> InvalidParams:
    text = str(error) if not isinstance(error, RecursionError) else "The value is nested too deeply"
    _, found, path = text.partition(" - at `")
    return InvalidParams(text, path=path.rstrip("`") if found else None)


def _refuse_foreign(hint: Any) -> None:
    """Raise `TypeError` for a class inside `hint` that could be neither built nor read on the other side.

    Django's choices are read as any enumeration, though what msgspec tells of them says otherwise.
    """
    waiting: list[Any] = [msgspec.inspect.type_info(hint)]
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, tuple):
            waiting += node
        elif isinstance(node, (msgspec.inspect.Type, msgspec.inspect.Field)) and id(node) not in seen:
            seen.add(id(node))  # types may contain themselves
            if isinstance(node, msgspec.inspect.CustomType) and not issubclass(node.cls, (Linked, enum.Enum)):
                raise TypeError(f"`{node.cls.__qualname__}` is a class that says nothing about its parts")
            waiting += [getattr(node, name) for name in node.__struct_fields__]


class Arguments:
    """The parameters of one message or event, decoded and checked in one pass.

    On the wire they come by name, `{"key": "42", "amount": 1}`, or by position, `["42", 1]`; `keyed` says whether the
    reserved `key` leads them. Between actors they are a MessagePack array without the key.
    """

    __slots__ = ("_by_name", "_by_position", "_local", "_parameters", "_suspect", "names", "optional")

    def __init__(
        self,
        name: str,
        fields: list[tuple[Any, ...]],
        substitute: Callable[[Any], Any],
        *,
        keyed: bool = True,
        zoned: bool = True,
    ) -> None:
        """`fields` are `(name, hint)` or `(name, hint, default)`. Raises `TypeError` when a hint can't be carried."""
        local = [(field[0], hints.rebuild(field[1], substitute), *map(_default, field[2:])) for field in fields]
        for field in local:
            _refuse_foreign(field[1])
        strict = functools.partial(hints.strict, zoned=zoned)
        wire = [(field[0], hints.rebuild(field[1], strict), *field[2:]) for field in local]
        if keyed:
            wire.insert(0, ("key", str))
        self.names = tuple(field[0] for field in fields)
        self.optional = frozenset(field[0] for field in fields if len(field) > 2 and not hints.admits_none(field[1]))
        self._suspect = any(hints.mentions(field[1], SUSPECT) for field in local)
        self._by_name = msgspec.json.Decoder(_record(name, wire, positional=False), dec_hook=_decode_hook)
        self._by_position = msgspec.json.Decoder(_record(name, wire, positional=True), dec_hook=_decode_hook)
        record: type[msgspec.Struct] = _record(name, local, positional=True)
        self._local = msgspec.msgpack.Decoder(record, dec_hook=_decode_hook)
        self._parameters = tuple((field.name, field.type, field.required) for field in msgspec.structs.fields(record))

    def parameters(self) -> tuple[tuple[str, Any, bool], ...]:
        """Name, hint and whether it must be given, of each parameter in order, without the key."""
        return self._parameters

    def from_wire(self, raw: bytes | Raw) -> tuple[Any, ...]:
        """The key and the arguments. Raises `InvalidParams` with the path."""
        data = bytes(raw)
        try:
            struct = self._by_position_or_padded(data) if data.startswith(b"[") else self._by_name.decode(data)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise _invalid(error) from None
        found: tuple[Any, ...] = msgspec.structs.astuple(struct)
        if self._suspect or b"\\u0000" in data:
            for name, value in zip(struct.__struct_fields__, found, strict=True):
                refuse_unsafe(value, f"$.{name}")
        return found

    def _by_position_or_padded(self, data: bytes) -> Any:
        try:
            return self._by_position.decode(data)
        except msgspec.ValidationError:
            if b"null" not in data:
                raise
            return self._by_name.decode(self._unpadded(data))

    def _unpadded(self, data: bytes) -> bytes:
        """The same by name, without the nulls that stock clients send for parameters that were left out."""
        names = self._by_position.type.__struct_fields__
        items = _raw_list.decode(data)
        if len(items) > len(names):
            raise msgspec.ValidationError(f"Expected `array` of at most length {len(names)}")
        kept = {
            name: item
            for name, item in zip(names, items, strict=False)
            if not (name in self.optional and bytes(item) == b"null")
        }
        return msgspec.json.encode(kept)

    def from_local(self, payload: bytes) -> tuple[Any, ...]:
        """The arguments. Raises `InvalidParams` with the path."""
        try:
            found: tuple[Any, ...] = msgspec.structs.astuple(self._local.decode(payload))
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise _invalid(error) from None
        return found


def _record(name: str, fields: list[tuple[Any, ...]], *, positional: bool) -> Any:
    return msgspec.defstruct(name, fields, array_like=positional, forbid_unknown_fields=True)


def _default(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float, bool, bytes, decimal.Decimal, datetime.datetime)):
        return value
    return msgspec.field(default_factory=functools.partial(copy.deepcopy, value))


SCHEMA_REFS = "#/components/schemas/{name}"

_DATED = Annotated[datetime.datetime, msgspec.Meta(extra_json_schema={"format": "date-time"})]


def json_schemas(
    wanted: list[Any], describe: Callable[[type], dict[str, Any]]
) -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    """The JSON Schema of each hint, and the named schemas that they refer to as `SCHEMA_REFS`.

    `describe` gives the schema of classes that only LightMoon knows. Raises `TypeError` for what can't be described.
    """

    def hook(cls: type) -> dict[str, Any]:
        return {"enum": [one.value for one in cls]} if issubclass(cls, enum.Enum) else describe(cls)

    dated = [hints.rebuild(hint, lambda leaf: _DATED if leaf is datetime.datetime else leaf) for hint in wanted]
    return msgspec.json.schema_components(dated, schema_hook=hook, ref_template=SCHEMA_REFS)
