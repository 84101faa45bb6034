"""What was put aside is told by the metrics and by the status; a broken note of a process breaks neither."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from router.agent.losses import FILE as LOSSES
from router.control.processes import PROCESSES, SHIPPER, noted
from router.quarantine import put_aside
from tests.control.installation import Installation
from tests.test_broken_files import BREAKS


def test_broken_files_are_told(here: Installation) -> None:
    data = here.plane.settings.data_dir
    assert "pointsman_quarantined_files 0.0" in here.client.get("/metrics").text
    (data / "table.json").write_text("{")
    put_aside(data / "table.json", "it cannot be read")
    assert "pointsman_quarantined_files 1.0" in here.client.get("/metrics").text
    (item,) = here.client.get("/status").json()["quarantine"]
    assert (item["file"], item["reason"], item["bytes"]) == (
        str(data / "table.json"),
        "it cannot be read",
        1,
    )


@pytest.mark.parametrize(
    "body", [{"lag_bytes": "7"}, {"kept_bytes": None}, {"routers": 5}, {"routers": [5]}, {"losses": [1]}]
)
def test_notes_of_wrong_types_are_passed_over(tmp_path: Path, body: dict[str, Any]) -> None:
    (field,) = body
    name = {"routers": PROCESSES, "losses": LOSSES}.get(field, SHIPPER)
    (tmp_path / name).write_text(json.dumps(body))
    assert noted(tmp_path, name) == {}
    (tmp_path / name).write_text(json.dumps({"invented_later": 1}))
    assert noted(tmp_path, name) == {"invented_later": 1}


@pytest.mark.parametrize("how", [how for how in BREAKS if how != "locked"])
def test_metrics_and_status_answer_beside_broken_notes(
    here: Installation, tmp_path_factory: pytest.TempPathFactory, how: str
) -> None:
    here.plane.runtime_dir = tmp_path_factory.mktemp("r")
    for name in (PROCESSES, SHIPPER):
        (here.plane.runtime_dir / name).write_text('{"up": 1, "lag_bytes": 7}')
        BREAKS[how](here.plane.runtime_dir / name)
    assert here.client.get("/metrics").status_code == 200
    assert here.client.get("/status").status_code == 200
