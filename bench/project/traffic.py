"""`GET /bench/traffic`: what the node has sent to others and got from them, counted."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

PATH = "/bench/traffic"


def counted() -> str:
    """As JSON."""
    from lightmoon_django.host import host

    elsewhere: Any = host.node.elsewhere if host.node is not None else None
    return json.dumps(dataclasses.asdict(elsewhere.network.stats().traffic) if elsewhere is not None else {})
