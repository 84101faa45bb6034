"""Every committed input of every target, without atheris: seeds, and each fault that fuzzing once found."""

from __future__ import annotations

import logging
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.fuzz import asgi, wires
from tests.fuzz.engine import quiet
from tests.fuzz.targets import CORPUS, CPU_SECONDS, LARGEST, TARGETS, load

INPUTS = [(name, path) for name in TARGETS for path in sorted((CORPUS / name).iterdir())]
PEAK = 32 << 20  # bytes; an input has at most 64 KiB
SLOW = 8  # tracing makes everything so much slower, at most


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    """What the targets configure is taken back, and their loops are closed."""
    before = structlog.get_config()
    quiet()
    try:
        yield
    finally:
        structlog.configure(**before)
        logging.disable(logging.NOTSET)
        for loops in (asgi._loops, wires._loops):
            for loop in loops:
                loop.run_until_complete(loop.shutdown_default_executor())
                loop.close()


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_shows_no_fault(name: str) -> None:
    check = load(name)
    check(b"")  # what is made once is not an input's
    for path in [path for target, path in INPUTS if target == name]:
        data = path.read_bytes()
        assert len(data) <= LARGEST
        tracemalloc.start()
        began = time.process_time()
        try:
            check(data)
            peak = tracemalloc.get_traced_memory()[1]
        except Exception as error:
            error.add_note(f"the input is {path}")
            raise
        finally:
            tracemalloc.stop()
        assert time.process_time() - began < CPU_SECONDS * SLOW, path
        assert peak < PEAK, f"{path} took {peak >> 20} MiB"


def test_every_target_has_a_corpus_and_a_file() -> None:
    folder = Path(__file__).parent
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    assert {path.stem.removeprefix("fuzz_") for path in folder.glob("fuzz_*.py")} == set(TARGETS)
    assert all(len(list((CORPUS / name).iterdir())) in range(3, 100) for name in TARGETS)


def test_a_fault_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The targets can fail: the link's, on a link that lets a second answer pass."""
    from router.upstream.link import Link

    monkeypatch.setattr(Link, "on_message_begin", lambda self: None)
    with pytest.raises(AssertionError):
        load("link")((CORPUS / "link" / "two").read_bytes())
