"""What an entry holds: who can be reached from here, and every choice that can come out of it."""

import msgspec

from router.documents import ModelState, Replica, Route, Version
from router.route.table import REASONS, build

VERSIONS = {name: Version(model="m", version=name, digest=f"d{name}") for name in "12"}


def replica(name: str, node: str, address: str) -> Replica:
    """A ready one of version 1."""
    return Replica(
        id=name,
        model="m",
        version="1",
        digest="d",
        address=address,
        pid=1,
        node=node,
        state="ready",
        since="t",
    )


def test_unix_sockets_of_other_hosts_are_left_out() -> None:
    replicas = (
        replica("mine", "here", "unix:/a"),
        replica("theirs", "there", "unix:/b"),
        replica("far", "there", "tcp:10.0.0.1:9"),
    )
    state = ModelState(model="m", route=None, replicas=replicas, desired={"1": 3})
    found = build(state, VERSIONS, frozenset(), "here").targets["1"].replicas
    assert [each.id for each in found] == ["mine", "far"]
    assert len(build(state, VERSIONS, frozenset()).targets["1"].replicas) == 3


def test_every_choice_says_who_why_and_who_else() -> None:
    route = Route(model="m", epoch=7, active="2", previous="1")
    state = ModelState(model="m", route=route, replicas=(), desired={"1": 1, "2": 1})
    choices = build(state, VERSIONS, frozenset()).choices
    assert set(choices) == {(version, reason) for version in "12" for reason in REASONS}
    for (version, reason), choice in choices.items():
        assert dict(choice.headers) == {
            b"x-model-version": version.encode(),
            b"x-route-epoch": b"7",
            b"x-route-reason": reason.encode(),
        }
        assert choice.lines == b"".join(b"%b: %b\r\n" % header for header in choice.headers)
        assert msgspec.json.decode(b"{" + choice.record + b"}") == {
            "model": "m",
            "version": version,
            "digest": f"d{version}",
            "epoch": 7,
            "reason": reason,
        }
        if reason == "pin":
            assert choice.fallback is None
        else:
            assert choice.fallback is not None
            assert (choice.fallback.version, choice.fallback.reason) == (
                {"1": "2", "2": "1"}[version],
                "fallback",
            )
            assert choice.fallback.fallback is None
