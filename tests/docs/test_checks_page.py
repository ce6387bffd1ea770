"""docs/checks.md lists what the code says."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def test_every_check_is_listed_once() -> None:
    """B66: the ids are public: people silence them."""
    sources = "".join(path.read_text() for path in (ROOT / "lightmoon_django" / "checks").glob("*.py"))
    used = set(re.findall(r'"(?:lightmoon\.)?([EWI]\d{3})"', sources))
    listed = re.findall(r"^\| `lightmoon\.([EWI]\d{3})` \|", (ROOT / "docs" / "checks.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(set(listed))
    assert set(listed) == used
