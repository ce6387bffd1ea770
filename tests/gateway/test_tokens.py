from __future__ import annotations

from django.contrib.auth.models import AnonymousUser
from django.test import override_settings

from lightmoon_django.gateway import tokens

NOBODY = AnonymousUser()


def test_a_token_says_whose_session_it_names() -> None:
    assert tokens.read(tokens.sign(NOBODY, "session-1")) == tokens.Claim("", "session-1")
    assert tokens.read("/session-1:forged") is None


def test_a_token_outlives_a_change_of_keys_for_as_long_as_the_old_one_counts() -> None:
    with override_settings(SECRET_KEY="old"):
        token = tokens.sign(NOBODY, "session-1")
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old"]):
        assert tokens.read(token) == tokens.Claim("", "session-1")
        assert tokens.sign(NOBODY, "session-1") != token
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=[]):
        assert tokens.read(token) is None
