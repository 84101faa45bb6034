"""Texts that go outwards: no place of this machine, whatever the text around it."""

from __future__ import annotations

import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import PointsmanError
from router.outward import places, roots, without_places

PATTERN = places({"/data/pm", "/tmp"})
WORDS = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), max_size=12)
NAMES = st.from_regex(r"[A-Za-z0-9_.@+-]{1,12}", fullmatch=True)


@given(
    st.lists(
        st.tuples(WORDS, st.sampled_from(["/data/pm", "/tmp", "unix:/data/pm"]), st.lists(NAMES, max_size=4)),
        min_size=1,
        max_size=4,
    )
)
def test_a_place_never_goes_outwards(parts: list[tuple[str, str, list[str]]]) -> None:
    text = " ".join(f"{word} '{'/'.join([root, *names])}'" for word, root, names in parts)
    told = without_places(text, PATTERN)
    assert "/data/pm" not in told
    assert "/tmp" not in told.replace("…/tmp", "")
    assert "unix:" not in told


@given(st.lists(NAMES, max_size=6))
def test_paths_of_the_api_stay(names: list[str]) -> None:
    text = f"there is nothing at '/v1/{'/'.join(names)}'"
    assert without_places(text, PATTERN) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("no bento a:1 in /tmp/x/bentoml", "no bento a:1 in …/bentoml"),
        ("[Errno 17] File exists: '/tmp/stage/a'", "[Errno 17] File exists: '…/a'"),
        ('File "/usr/lib/python3.11/x.py", line 3', 'File "…/x.py", line 3'),
        ("replica at unix:/run/pm/r0.sock refused", "replica at …/r0.sock refused"),
        ("/onnxruntime_src/core/graph.cc:182 bad", "…/graph.cc:182 bad"),
        ("1/2 of /models/tmp/x", "1/2 of /models/tmp/x"),
        ("a/tmp/b and /tmpfoo/x", "a/tmp/b and /tmpfoo/x"),
    ],
)
def test_examples(text: str, told: str) -> None:
    assert without_places(text) == told


def test_errors_go_through_it() -> None:
    error = PointsmanError(f"cannot read {tempfile.gettempdir()}/secret/file")
    assert error.body()["error"] == "cannot read …/file"
    assert all(len(root) >= 4 and not root.endswith("/") for root in roots())
