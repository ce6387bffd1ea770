"""JSON Schemas as TypeScript types: what travels, so that decimals, datetimes and UUIDs are strings."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from lightmoon_django.proxies.jsdoc import comment
from lightmoon_django.proxies.manifest import JsonSchema

# Reserved words, and names that no interface may have.
RESERVED = frozenset(
    {
        "any", "arguments", "as", "async", "await", "bigint", "boolean", "break", "case", "catch", "class",
        "const", "continue", "debugger", "declare", "default", "delete", "do", "else", "enum", "eval", "export",
        "extends", "false", "finally", "for", "function", "if", "implements", "import", "in", "instanceof",
        "interface", "is", "let", "module", "namespace", "never", "new", "null", "number", "object", "package",
        "private", "protected", "public", "return", "static", "string", "super", "switch", "symbol", "this",
        "throw", "true", "try", "type", "typeof", "undefined", "unknown", "var", "void", "while", "with",
        "yield",
    }
)  # fmt: skip

_PLAIN = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def text(value: object) -> str:
    """A literal."""
    return json.dumps(value)


def member(name: str) -> str:
    """A property's name, quoted where it must be."""
    return name if name.isidentifier() else text(name)


class Types:
    """The named types of one manifest, and types that mention them."""

    def __init__(
        self, definitions: Mapping[str, JsonSchema], actors: Mapping[str, str], taken: Collection[str]
    ) -> None:
        """`actors` gives the interface of each wire name; `taken` are names that no definition may get."""
        self._definitions = definitions
        self._actors = actors
        self._names: dict[str, str] = {}
        used = {*taken, *RESERVED, "Promise", "Record"}
        for name in definitions:
            self._names[name] = _free(re.sub(r"\W", "_", name), used)
            used.add(self._names[name])

    def declarations(self) -> Iterator[str]:
        """All named types, exported."""
        for name, schema in self._definitions.items():
            yield from comment(schema.get("description", ""), 0)
            yield from self._declaration(self._names[name], schema)

    def of(self, schema: JsonSchema, *, given: bool = False) -> str:
        """The type of a value. `given`: by the client, who may give a proxy where a key is meant."""
        return self._of(schema, given)

    def _declaration(self, name: str, schema: JsonSchema) -> Iterator[str]:
        if schema.get("type") != "object" or "properties" not in schema:
            yield f"export type {name} = {self._of(schema, False)};"
            return
        required = schema.get("required", ())
        yield f"export interface {name} {{"
        for part, of in schema["properties"].items():
            yield from comment(of.get("description", ""), 2)
            yield f"  {member(part)}{'' if part in required else '?'}: {self._of(of, False)};"
        yield "}"

    def _of(self, schema: JsonSchema, given: bool) -> str:
        match schema:
            case {"$ref": ref}:
                return self._names[ref.rpartition("/")[2]]
            case {"enum": values}:
                return _union(text(value) for value in values)
            case {"const": value}:
                return text(value)
            case {"anyOf": members} | {"oneOf": members}:
                return _union(self._of(one, given) for one in members)
            case {"x-lightmoon-actor": actor} if given and actor in self._actors:
                return f"string | {self._actors[actor]}"
            case {"type": list(kinds)}:
                return _union(self._of({**schema, "type": kind}, given) for kind in kinds)
            case {"type": "array"}:
                return self._array(schema, given)
            case {"type": "object"}:
                return self._object(schema, given)
        return _PLAIN.get(schema.get("type", ""), "unknown")

    def _array(self, schema: JsonSchema, given: bool) -> str:
        rest = schema.get("items", {})
        first = schema.get("prefixItems")
        if first is None:
            return f"{_grouped(self._of(rest, given))}[]" if rest else "unknown[]"
        least = schema.get("minItems", 0)
        parts = [f"{_grouped(self._of(one, given))}{'' if at < least else '?'}" for at, one in enumerate(first)]
        if rest is not False:
            parts.append(f"...{_grouped(self._of(rest, given))}[]")
        return f"[{', '.join(parts)}]"

    def _object(self, schema: JsonSchema, given: bool) -> str:
        if "properties" in schema:
            required = schema.get("required", ())
            parts = [
                f"{member(name)}{'' if name in required else '?'}: {self._of(one, given)}"
                for name, one in schema["properties"].items()
            ]
            return f"{{ {'; '.join(parts)} }}"
        rest: Any = schema.get("additionalProperties", {})
        return f"$Record<{self._of(rest, given) if isinstance(rest, dict) else 'unknown'}>"


def _union(members: Iterator[str]) -> str:
    return " | ".join(dict.fromkeys(members)) or "never"


def _grouped(kind: str) -> str:
    return f"({kind})" if " " in kind else kind


def _free(name: str, used: Collection[str]) -> str:
    while name in used or not re.match(r"[^\W\d]", name):
        name = f"{name}_" if re.match(r"[^\W\d]", name) else f"_{name}"
    return name
