"""Notes in the runtime folder that are broken, or that no disk takes: nobody who reads or writes them fails."""

from __future__ import annotations

import asyncio
import errno
import json
from pathlib import Path
from typing import Any

import pytest

from router.agent import leftovers, snapshot
from router.agent.adoption import adopt
from router.agent.place import Place, sweep
from router.agent.roster import Roster
from router.registry.registry import Registry
from tests.agent.wishes import replica
from tests.powerless import powerless
from tests.test_broken_files import BREAKS

WRONG: list[Any] = [
    {"started": 5},
    {"started": [5]},
    {"started": [["a", "b"]]},
    {"id": 5},
    {"id": "m-1-a", "started": [7]},
    {"id": "m-1-a", "replica": {"id": 3}, "started": []},
]


@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_note_stops_no_start(place: Place, how: str) -> None:
    notes = [place.processes, place.replicas, place.replica_files / "m-1-a.json"]
    for note in notes:
        note.write_text('{"id": "m-1-a", "started": []}')
        BREAKS[how](note)
    with powerless():
        asyncio.run(leftovers.gone(place))
        assert adopt(place, 0.0, "2026-01-01T00:00:00Z") == []
        sweep(place)
    assert not [note for note in notes if note.exists() or note.is_symlink()]


@pytest.mark.parametrize("body", WRONG)
def test_a_note_of_wrong_types_is_not_adopted(place: Place, body: Any) -> None:
    for note in (place.processes, place.replica_files / "m-1-a.json"):
        note.write_text(json.dumps(body))
    asyncio.run(leftovers.gone(place))
    assert adopt(place, 0.0, "2026-01-01T00:00:00Z") == []


def test_a_full_disk_fails_no_replica(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    roster = Roster(place, Registry.__new__(Registry), "here")
    roster.put(replica("a"))

    def full(path: Path, document: Any, *, durable: bool = False) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(snapshot, "write", full)
    roster.expect("b")
    roster.put(replica("b"))
    assert {each.id for each in roster.all()} == {"a", "b"}
    monkeypatch.undo()
    roster.put(replica("c"))
    found: Any = snapshot.read(place.replicas)
    assert {each["id"] for each in found["replicas"]} == {"a", "b", "c"}
