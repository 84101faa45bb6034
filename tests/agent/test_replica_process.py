"""What is told of a replica that failed: its own report, else how it ended and what it said last."""

from __future__ import annotations

from pathlib import Path

from router.agent.replica_process import LAST_LINES, LINE_CHARS, last_lines, last_report


def log(folder: Path, text: str) -> Path:
    path = folder / "replica.log"
    path.write_text(text)
    return path


def test_its_own_report_wins(tmp_path: Path) -> None:
    text = '{"event": "replica_failed", "error": "was altered", "final": true}\nTraceback\n'
    assert last_report(log(tmp_path, text), ended=1) == ("was altered", True)


def test_without_one_the_end_and_the_last_line_are_told(tmp_path: Path) -> None:
    assert last_report(log(tmp_path, "loading\n\n"), ended=139) == (
        "it was ended by signal 11: loading",
        False,
    )
    assert last_report(log(tmp_path, ""), ended=7) == ("it ended with status 7: its log is empty", False)
    assert last_report(tmp_path / "none.log", ended=1)[0] == "it ended with status 1: its log is empty"


def test_the_last_lines_are_few_and_short(tmp_path: Path) -> None:
    found = last_lines(log(tmp_path, "".join(f"line {n} {'x' * 500}\n\n" for n in range(50))))
    assert len(found) == LAST_LINES
    assert found[-1].startswith("line 49 ")
    assert {len(line) for line in found} == {LINE_CHARS}
    assert last_lines(tmp_path / "none.log") == ()
