"""A replica's frame as the router reads it: BadFrame or arrays, and no other ones than the replica reads."""

from __future__ import annotations

import numpy as np

from router.upstream import frame as ours
from services import frame as theirs


def check(data: bytes) -> None:
    """Both ends read it."""
    try:
        found: dict[str, np.ndarray] | None = ours.decode_answer(data)[1]
    except ours.BadFrame:
        found = None
    try:
        wanted = theirs.decode_answer(data)
    except theirs.FrameError:
        return  # the replica's end is the stricter one
    assert found is not None, "a sound frame is refused"
    assert list(found) == list(wanted.tensors)
    for name, array in wanted.tensors.items():
        have = found[name]
        assert have.shape == array.shape, name
        if array.dtype == object:
            assert [item.decode() for item in have.ravel()] == array.ravel().tolist()
        else:
            assert have.tobytes() == array.tobytes()
