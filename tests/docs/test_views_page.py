"""docs/views.md: its code is what it says."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test.utils import isolate_apps

from lightmoon_django.actor import registry
from lightmoon_django.checks import declarations
from lightmoon_django.proxies.state import always_shown, view_hints

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "views.md"

META = '    class Meta:\n        app_label = "testapp"\n\n'  # stands for the app that the page's project has


@pytest.fixture
def auctions(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The modules of the page, by name."""
    kept = [dict(registry._registered), dict(registry._refs), dict(registry._schemas)]
    found: dict[str, Any] = {}
    with isolate_apps("tests.app"):
        for path, text in re.findall(r"```python\n# (\S+)\.py\n(.*?)```", PAGE.read_text(), re.DOTALL):
            name = path.replace("/", ".")
            module = found[name] = types.ModuleType(name)
            monkeypatch.setitem(sys.modules, name, module)
            monkeypatch.setitem(sys.modules, "auctions", types.ModuleType("auctions"))
            module.__dict__["User"] = get_user_model()
            body = text.replace("(models.Model):\n", f"(models.Model):\n{META}").replace('"auth.User"', "User")
            exec(compile(body, str(PAGE), "exec"), module.__dict__)
        yield found
    for current, before in zip((registry._registered, registry._refs, registry._schemas), kept, strict=True):
        current.clear()
        current.update(before)  # type: ignore[arg-type]


def test_its_actors_have_the_views_that_it_describes(auctions: dict[str, Any]) -> None:
    """B66: and `check` finds nothing wrong with them."""
    models = auctions["auctions.models"]
    assert declarations.check_actor(models.Auction) == []
    assert declarations.check_actor(models.Hall) == []
    hints = dict(view_hints(registry.schema_of(models.Auction)))
    assert list(hints) == ["title", "price", "leader", "leader_name", "cents"]
    assert hints["cents"] is int
    assert dict(view_hints(registry.schema_of(models.Hall))) == {"open": bool, "visitors": int}


def test_its_actors_show_different_users_different_things(auctions: dict[str, Any]) -> None:
    """B66: and what a client's types say is what somebody may see."""
    for cls in (auctions["auctions.lots"].Lot, auctions["auctions.tables"].Table):
        assert declarations.check_actor(cls) == []
        assert registry.schema_of(cls).view_for is not None
    lot, table = (
        registry.schema_of(auctions["auctions.lots"].Lot),
        registry.schema_of(auctions["auctions.tables"].Table),
    )
    assert list(dict(view_hints(lot))) == ["title", "price", "reserve"]
    assert always_shown(lot) == {"title", "price"}
    assert always_shown(table) == {"pot", "hand"}
