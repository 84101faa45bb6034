"""What stands in a version's way, by the documents of its model."""

import pytest

from router.documents import ModelState, Replica, ReplicaState, Route, Version
from router.errors import Conflict
from router.route.deployment import failed, idle_reason, require_unrouted
from router.route.table import build


def replica(version: str, state: ReplicaState) -> Replica:
    """One replica of `m`."""
    return Replica(
        id=f"m-{version}-{state}",
        model="m",
        version=version,
        digest="d",
        address="unix:/nowhere.sock",
        pid=1,
        node="here",
        state=state,
        since="2026-01-01T00:00:00Z",
    )


STATE = ModelState(
    model="m",
    route=Route(model="m", active="2", previous="1"),
    replicas=(replica("1", "ready"), replica("2", "ready"), replica("3", "failed"), replica("5", "ready")),
    desired={"1": 1, "2": 1, "3": 1, "4": 2},
)
VERSIONS = {name: Version(model="m", version=name, digest="d") for name in ("1", "2", "3", "4", "5", "6")}
ENTRY = build(STATE, VERSIONS, frozenset(VERSIONS))


@pytest.mark.parametrize(
    ("version", "force", "code"),
    [
        ("2", False, "still_routed"),
        ("2", True, "still_routed"),
        ("1", False, "still_routed"),
        ("1", True, None),
        ("3", False, None),
        ("5", False, "not_deployed"),
    ],
)
def test_what_may_be_undeployed(version: str, force: bool, code: str | None) -> None:
    if code is None:
        require_unrouted(STATE, version, force=force)
        return
    with pytest.raises(Conflict) as caught:
        require_unrouted(STATE, version, force=force)
    assert caught.value.code == code


def test_failed_replicas() -> None:
    assert [each.id for each in failed(STATE, "3")] == ["m-3-failed"]
    assert failed(STATE, "2") == []


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("1", None),
        ("2", None),
        ("3", "its replicas failed"),
        ("4", "no replica is ready yet"),
        ("5", "not deployed"),  # its last replica is on the way out
        ("6", "not deployed"),
    ],
)
def test_why_a_version_does_not_answer(version: str, reason: str | None) -> None:
    assert idle_reason(ENTRY, STATE, version) == reason
