"""A router's frame as a replica reads it: FrameError or a request that both ends write and read the same."""

from __future__ import annotations

import numpy as np

from router.upstream import frame as ours
from services import frame as theirs


def check(data: bytes) -> None:
    """Read, written by either end, read again."""
    try:
        found = theirs.decode_request(data)
    except theirs.FrameError as error:
        str(error).encode()
        return
    tensors = list(found.tensors.items())
    written = theirs.encode_request(tensors, deadline_ms=found.deadline_ms, outputs=found.outputs)
    _same(theirs.decode_request(written), found)
    inputs = {
        name: array if array.dtype != object else _encoded(array) for name, array in found.tensors.items()
    }
    again = theirs.decode_request(ours.encode_request(inputs, found.deadline_ms, found.outputs))
    _same(again, found)


def _encoded(array: np.ndarray) -> np.ndarray:
    out = np.empty(array.size, dtype=object)
    out[:] = [item.encode() for item in array.ravel().tolist()]
    return out.reshape(array.shape)


def _same(have: theirs.Request, want: theirs.Request) -> None:
    assert (have.deadline_ms, have.outputs) == (want.deadline_ms, want.outputs)
    assert list(have.tensors) == list(want.tensors)
    for name, array in want.tensors.items():
        assert have.tensors[name].shape == array.shape
        if array.dtype == object:
            assert have.tensors[name].tolist() == array.tolist()
        else:
            assert have.tensors[name].tobytes() == array.tobytes()
