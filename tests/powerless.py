"""Takes root's right to read every file from the calling thread, so that a mode of 000 means what it says."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2
_VERSION_3 = 0x20080522
_CAPGET, _CAPSET = (90, 91) if os.uname().machine == "aarch64" else (125, 126)

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Set(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


@contextmanager
def powerless() -> Iterator[None]:
    """Inside, this thread obeys the modes of files as any user does."""
    header, sets = _Header(_VERSION_3, 0), (_Set * 2)()
    _call(_CAPGET, header, sets)
    before = sets[0].effective
    sets[0].effective = before & ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH)
    _call(_CAPSET, header, sets)
    try:
        yield
    finally:
        sets[0].effective = before
        _call(_CAPSET, header, sets)


def _call(number: int, header: _Header, sets: ctypes.Array[_Set]) -> None:
    if _libc.syscall(number, ctypes.byref(header), ctypes.byref(sets)) != 0:
        raise OSError(ctypes.get_errno(), "capabilities")
