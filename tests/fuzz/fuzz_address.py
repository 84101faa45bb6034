"""The address of Redis: a ValueError or an address, and never the password in what is said or shown."""

# ruff: noqa: PT017 (an error is one of the two right outcomes)

from __future__ import annotations

from router.registry.address import parse, without_password

SECRET = "s3cr\u00e9t-of-nobody"


def check(data: bytes) -> None:
    """The text, and the same with a password put in after its scheme."""
    text = data.decode("utf-8", "replace")
    _one(text)
    scheme, mark, rest = text.partition("://")
    if mark and "@" not in rest:
        _one(f"{scheme}://user:{SECRET}@{rest}")


def _one(url: str) -> None:
    assert SECRET not in without_password(url)
    try:
        found = parse(url)
    except ValueError as error:
        assert SECRET not in str(error), error
        return
    assert SECRET not in found.service
    assert all(host and 0 < port < 65536 and SECRET not in host for host, port in found.nodes), found
    if found.kind == "server":
        assert (found.url, found.nodes) == (url, ())
    else:
        assert found.nodes
        assert parse(found.url).kind == "server"
