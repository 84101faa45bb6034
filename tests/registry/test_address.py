"""Addresses of Redis: each form, and what is said of a wrong one without telling the password."""

from __future__ import annotations

import pytest

from router.registry.address import Address, parse, without_password
from router.registry.connection import connect, replicas_awaited


@pytest.mark.parametrize("url", ["redis://h:1/2", "rediss://u:p@h", "unix:///tmp/s?db=1"])
def test_a_plain_address_is_left_to_the_client(url: str) -> None:
    assert parse(url) == Address("server", url)
    assert replicas_awaited(url) == 0


def test_sentinels_have_hosts_a_service_and_perhaps_a_database() -> None:
    url = "rediss+sentinel://u:p%40@a,b:2,[::1]:3/pm/4?sentinel_password=s"
    assert parse(url) == Address(
        "sentinel",
        "rediss://u:p%40@ignored:1/4?sentinel_password=s",
        (("a", 26379), ("b", 2), ("::1", 3)),
        "pm",
    )
    assert replicas_awaited(url) == 1


def test_a_cluster_has_hosts() -> None:
    assert parse("redis+cluster://a,b:2") == Address(
        "cluster", "redis://ignored:1/0", (("a", 6379), ("b", 2)), ""
    )


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("http://u:secret@h", "is no address of a Redis"),
        ("redis+ring://u:secret@h", "is no address of a Redis"),
        ("unix+sentinel://u:secret@h/pm", "is no address of a Redis"),
        ("redis+sentinel://u:secret@h", "/SERVICE"),
        ("redis+sentinel://u:secret@h/pm/x", "/SERVICE"),
        ("redis+cluster://u:secret@h/1", "no path"),
        ("redis+cluster://u:secret@h:x", "'h:x' is no host"),
        ("redis+cluster://u:secret@h,,i", "'' is no host"),
    ],
)
def test_a_wrong_address_is_named_without_its_password(url: str, what: str) -> None:
    with pytest.raises(ValueError, match=what) as caught:
        connect(url)
    assert "secret" not in str(caught.value)


def test_neither_user_nor_options_are_shown() -> None:
    assert without_password("redis+sentinel://u:p@a,b/pm?sentinel_password=s") == "redis+sentinel://a,b/pm"


def test_the_options_of_an_address_reach_servers_and_sentinels() -> None:
    made = connect("rediss+sentinel://u:p@a/pm/4?sentinel_password=s&sentinel_username=v", name="me")
    pool = made.connection_pool
    given = pool.connection_kwargs
    assert {k: given[k] for k in ("username", "password", "db", "client_name")} == {
        "username": "u", "password": "p", "db": 4, "client_name": "me",
    }  # fmt: skip
    assert "sentinel_password" not in given
    assert pool.connection_class.__name__ == "SentinelManagedSSLConnection"
    [sentinel] = pool.sentinel_manager.sentinels  # type: ignore[attr-defined]
    own = sentinel.connection_pool.connection_kwargs
    assert (own["username"], own["password"], own["port"]) == ("v", "s", 26379)
