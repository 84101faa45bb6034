"""Multipart registrations: an error of ours, or files and texts as the parts hold them; nothing left over."""

# ruff: noqa: PT017 (an error is one of the two right outcomes)

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import orjson

from router.control.upload import TEXTS, received
from router.errors import PointsmanError
from tests.fuzz.asgi import request, run

LIMIT = 1 << 20


def check(data: bytes) -> None:
    """Up to the first line feed the content type's parameters (most often a boundary), then the body."""
    options, _, body = data.partition(b"\n")
    fast = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="fuzz", dir=fast) as place:
        spool = Path(place) / "spool"
        try:
            run(_receive(spool, options, body))
        except PointsmanError as error:
            assert error.status in (400, 413), error.status
            orjson.dumps(error.body())
        assert os.listdir(place) in ([], ["spool"])
        assert not spool.exists() or not os.listdir(spool), "an upload left something behind"


async def _receive(spool: Path, options: bytes, body: bytes) -> None:
    headers = [(b"content-type", b"multipart/form-data; " + options)]
    async with received(request(body, headers=headers), spool, LIMIT) as upload:
        assert upload.artifact.resolve().is_relative_to(spool.resolve())
        assert upload.artifact.read_bytes() in body, "bytes that nobody sent"
        if upload.manifest is not None:
            assert upload.manifest.read_bytes() in body
        assert set(upload.texts) <= set(TEXTS)
        for text in upload.texts.values():
            assert text.encode() in body
