"""Which pages may connect, and with whose cookies."""

from __future__ import annotations

import pytest
from django.test import override_settings

from lightmoon_django.actor import registry
from lightmoon_django.gateway import registry as live
from tests.gateway.actors import Desk
from tests.gateway.board import Board
from tests.gateway.people import browser
from tests.gateway.wire import OWN, Wire

DESK = registry.name_of(Desk)

FOREIGN = [
    "http://evil.com",
    "https://example.com",
    "http://example.com:8080",
    "http://sub.example.com",
    "http://example.com.evil.com",
    "http://evil.com/example.com",
    "http://example.com@evil.com",
    "null",
    "",
    "file://",
    "http://",
    "http://[",
    "http://example.com:99999",
    "example.com",
    "http://trusted.org",
    "https://trusted.org.evil.com",
    "https://evilwild.org",
]


@pytest.mark.parametrize("origin", FOREIGN)
@override_settings(CSRF_TRUSTED_ORIGINS=["https://trusted.org", "https://*.wild.org"])
async def test_a_foreign_origin_is_refused_before_anything_runs(board: Board, origin: str) -> None:
    """B60: no session, no call, no hook."""
    async with Wire(headers=((b"origin", origin.encode()),)) as wire:
        assert not wire.accepted
        assert wire.closed == 4403
        assert live.sessions() == ()
        assert board.posted == []


@pytest.mark.parametrize(
    "origin",
    ["http://example.com", "http://EXAMPLE.com", "http://example.com:80", "https://trusted.org", "https://a.wild.org"],
)
@override_settings(CSRF_TRUSTED_ORIGINS=["https://trusted.org", "https://*.wild.org"])
async def test_the_own_and_trusted_origins_are_accepted(board: Board, origin: str) -> None:
    async with Wire(headers=((b"origin", origin.encode()),)) as wire:
        assert wire.accepted
        assert await wire.call(f"{DESK}.add", ["1"]) == 1


async def test_a_secure_page_needs_a_secure_socket(board: Board) -> None:
    async with Wire(headers=((b"origin", b"https://example.com"),), scheme="wss") as wire:
        assert wire.accepted
    async with Wire(headers=((b"origin", b"http://example.com"),), scheme="wss") as wire:
        assert not wire.accepted


@override_settings(SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"))
async def test_a_proxy_may_say_that_it_is_secure(board: Board) -> None:
    headers = ((b"origin", b"https://example.com"), (b"x-forwarded-proto", b"https"))
    async with Wire(headers=headers) as wire:
        assert wire.accepted


@override_settings(ALLOWED_HOSTS=["example.com"])
async def test_a_host_that_django_would_refuse_is_not_the_own_origin(board: Board) -> None:
    wire = Wire(headers=((b"origin", b"http://evil.com"),))
    wire.scope["headers"] = [(b"host", b"evil.com"), (b"origin", b"http://evil.com")]
    async with wire:
        assert not wire.accepted


@pytest.mark.django_db(transaction=True)
async def test_cookies_count_from_the_own_origin_alone(board: Board) -> None:
    """A socket without an Origin is admitted, and is nobody's."""
    _, cookie, _ = await browser("ada")
    async with Wire(headers=(OWN, cookie)) as wire:
        assert await wire.call(f"{DESK}.private", ["1"]) == "in"
    async with Wire(headers=(cookie,)) as wire:
        assert wire.accepted
        assert (await wire.error(f"{DESK}.private", ["1"]))["code"] == 4003
        assert await wire.call(f"{DESK}.add", ["1"]) == 1


@pytest.mark.django_db(transaction=True)
async def test_a_session_cookie_that_proves_nothing_is_anonymous(board: Board) -> None:
    from tests.gateway.people import cookie

    async with Wire(headers=(OWN, cookie("nosuchsession"))) as wire:
        assert (await wire.error(f"{DESK}.private", ["1"]))["code"] == 4003


@pytest.mark.django_db(transaction=True)
async def test_a_user_that_middleware_found_is_taken(board: Board) -> None:
    """The consumer inside a project's own stack."""
    from channels.auth import AuthMiddlewareStack
    from channels.routing import ProtocolTypeRouter, URLRouter
    from django.urls import path

    from lightmoon_django.gateway.websocket import LightMoonConsumer

    routes = URLRouter([path("live/", LightMoonConsumer.as_asgi())])  # type: ignore[arg-type, list-item]
    app = ProtocolTypeRouter({"websocket": AuthMiddlewareStack(routes)})
    user, cookie, _ = await browser("ada")
    async with Wire(app, headers=(OWN, cookie), path="/live/") as wire:
        assert await wire.call(f"{DESK}.private", ["1"]) == "in"
    async with Wire(app, headers=(cookie,), path="/live/") as wire:
        assert (await wire.error(f"{DESK}.private", ["1"]))["code"] == 4003

    async def own(scope, receive, send):  # type: ignore[no-untyped-def]
        await routes({**scope, "user": user}, receive, send)

    async with Wire(own, headers=(), path="/live/") as wire:  # by something else than cookies
        assert await wire.call(f"{DESK}.private", ["1"]) == "in"


async def test_the_root_path_of_the_server_is_no_part_of_the_address(board: Board) -> None:
    async with Wire(path="/mounted/lightmoon/ws", root_path="/mounted") as wire:
        assert wire.accepted


async def test_a_socket_at_another_address_is_refused_where_only_django_follows() -> None:
    from django.core.asgi import get_asgi_application

    from lightmoon_django.asgi import lightmoon

    async with Wire(lightmoon(get_asgi_application()), path="/other") as wire:
        assert wire.closed == 4404


async def test_everything_else_reaches_the_project() -> None:
    from lightmoon_django.asgi import lightmoon

    seen: list[str] = []

    async def project(scope, receive, send):  # type: ignore[no-untyped-def]
        seen.append(scope["type"])

    app = lightmoon(project)
    for scope in (
        {"type": "lifespan"},
        {"type": "http", "path": "/lightmoon/"},
        {"type": "websocket", "path": "/other"},
    ):
        await app(scope, None, None)
    assert seen == ["lifespan", "http", "websocket"]
