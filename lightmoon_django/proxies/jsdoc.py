"""Docstrings as comments of JavaScript and TypeScript."""

from __future__ import annotations

from collections.abc import Iterator


def comment(doc: str, indent: int) -> Iterator[str]:
    """A JSDoc comment, which nothing in a docstring can end; nothing for an empty one."""
    if not doc:
        return
    space = " " * indent
    lines = doc.replace("*/", "*\\/").splitlines()
    if len(lines) == 1:
        yield f"{space}/** {lines[0]} */"
        return
    yield f"{space}/**"
    yield from (f"{space} * {line}".rstrip() for line in lines)
    yield f"{space} */"
