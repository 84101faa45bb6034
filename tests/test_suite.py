"""The parts of `make test` are the whole suite, each test file in one of them."""

from pathlib import Path

from tests.__main__ import HERE, halves


def test_every_test_file_runs_once() -> None:
    parts = [path for part in halves() for path in part]
    assert len(parts) == len(set(parts))
    found = {
        str(path.relative_to(HERE.parent))
        for path in HERE.rglob("test_*.py")
        if "__pycache__" not in path.parts
    }
    covered = {
        path for path in found if any(path == part or Path(part) in Path(path).parents for part in parts)
    }
    assert covered == found
