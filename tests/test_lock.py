"""The lock file against published advisories, by the floors of SECURITY.md; no network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.M)
FLOOR = re.compile(r"^\| `([a-z0-9-]+)` \| `([0-9.]+)` \|", re.M)

UNPICKLING = re.compile(
    r"^\s*(?:import|from) (?:cloud)?pickle\b|\bjoblib\b|allow_pickle=True|\btorch\.load"
    r"|yaml\.(?:unsafe_load|full_load|UnsafeLoader|FullLoader|Loader\b)",
    re.M,
)


def number(version: str) -> tuple[int, ...]:
    """The numbers of a version: what we pin has no others."""
    assert re.fullmatch(r"\d+(\.\d+)*", version), f"{version} is no plain version"
    return tuple(int(part) for part in version.split("."))


def locked() -> dict[str, str]:
    """Every package of the lock."""
    return {
        name.lower().replace("_", "-"): version
        for name, version in PIN.findall((ROOT / "requirements.lock").read_text())
    }


def floors() -> dict[str, str]:
    """The table of SECURITY.md."""
    return dict(FLOOR.findall((ROOT / "SECURITY.md").read_text()))


def test_the_floors_of_the_advisories_are_in_the_table() -> None:
    assert {"bentoml", "starlette", "h11", "redis", "onnx", "python-multipart"} <= floors().keys()
    assert number(floors()["bentoml"]) >= (1, 4, 39)
    assert number(floors()["starlette"]) >= (1, 0, 1)


@pytest.mark.parametrize("name", sorted(floors()))
def test_the_lock_holds_a_floor(name: str) -> None:
    pinned = locked()
    if name in pinned:  # what is not installed harms nobody
        assert number(pinned[name]) >= number(floors()[name]), f"{name} {pinned[name]}: see SECURITY.md"


def test_every_package_of_the_lock_has_its_hashes() -> None:
    text = (ROOT / "requirements.lock").read_text()
    starts = [match.start() for match in PIN.finditer(text)]
    assert len(starts) > 50
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        assert "--hash=sha256:" in text[start:end], text[start : start + 40]


def test_what_the_project_asks_for_is_not_below_a_floor() -> None:
    asked = (ROOT / "pyproject.toml").read_text()
    for name, floor in floors().items():
        for version in re.findall(rf'"{re.escape(name)}>=([0-9.]+)', asked):
            assert number(version) >= number(floor), f"pyproject.toml asks for {name}>={version}"


def test_nothing_that_unpickles_models_is_imported() -> None:
    """Pickle runs code: nothing of ours reads it, and numpy is told not to."""
    wrong = []
    for room in ("router", "services"):
        for path in (ROOT / room).rglob("*.py"):
            if "examples" in path.parts:
                continue
            text = path.read_text()
            if UNPICKLING.search(text):
                wrong.append(str(path.relative_to(ROOT)))
    assert not wrong
