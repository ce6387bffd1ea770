"""A process that hosts nothing: plain threads, a WSGI server and a forked child, which call actors from sync code.

`python -m tests.cluster.caller KEY` adds 1 to that tally in each of these ways, and prints what it found as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django


def main(key: str) -> None:
    from lightmoon_django.host import host

    found = {
        "plain": add(key),
        "threads": sorted(in_threads(lambda: add(key), 3)),
        "wsgi": over_wsgi(key),
        "forked": in_child(key),
    }
    from lightmoon_django import ref
    from tests.live.models import Tally

    assert host.node is not None
    found["held"] = len(host.node.catalog)
    ref(Tally, key).add.tell(100)
    print(json.dumps(found), flush=True)  # noqa: T201


def add(key: str) -> int:
    from lightmoon_django import ref
    from tests.live.models import Tally

    return ref(Tally, key).add.sync(1)


def in_threads(job: Callable[[], Any], how_many: int) -> list[Any]:
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(job())) for _ in range(how_many)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20.0)
    return found


def over_wsgi(key: str) -> int:
    def application(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [str(add(key)).encode()]

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with make_server("127.0.0.1", 0, application, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/", timeout=20.0) as answer:
            found = int(answer.read())
        thread.join(20.0)
    return found


def in_child(key: str) -> list[Any]:
    """Its own count, and whether its node is another one on the network than its parent's."""
    from lightmoon_django.host import host

    reader, writer = os.pipe()
    parent = host.node.elsewhere.me  # type: ignore[union-attr]
    child = os.fork()
    if child == 0:
        try:
            answer = [add(key), host.node.elsewhere.me != parent]  # type: ignore[union-attr]
            os.write(writer, json.dumps(answer).encode())
        finally:
            host.leave()
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    found: list[Any] = json.loads(text)
    return found


if __name__ == "__main__":
    django.setup()
    main(sys.argv[1])
