"""`member.py` that serves HTTP and WebSockets too: a web node as it is run in production, with a line to the test.

`python -m tests.cluster.served`. With LAYER_REDIS in the environment it is on a machine of its own, as far as it knows:
no socket leads to it, and nobody can tell whether its process still runs.
"""

from __future__ import annotations

import asyncio
import os

import django

from tests.cluster.member import Member


class Served(Member):
    async def run(self) -> None:
        import uvicorn

        config = uvicorn.Config(
            "tests.server.asgi:application",
            port=int(os.environ["MEMBER_PORT"]),
            log_level="warning",
            ws="websockets-sansio",
            timeout_graceful_shutdown=5,
        )
        self._server = uvicorn.Server(config)
        self._serving = asyncio.create_task(self._server.serve())
        await self._obey_all()

    async def write_outside(self, key: str, values: dict[str, object]) -> int:
        """As a view of this process would, without the actor."""
        from tests.cluster.models import Ledger

        return await Ledger.objects.filter(pk=key).aupdate(**values)


def _on_a_machine_of_its_own() -> None:
    from lightmoon_django.persistence import process

    process._host = lambda: f"machine of {os.getpid()}"


if __name__ == "__main__":
    if "LAYER_REDIS" in os.environ:
        _on_a_machine_of_its_own()
    django.setup()
    asyncio.run(Served().run())
