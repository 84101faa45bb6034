"""Receives a multipart registration into a spool folder of its own, within limits; it reads no model."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from router.errors import BadInput, DeadlineExceeded, TooLarge

FILES = ("artifact", "manifest")
TEXTS = ("version", "reason")
MANIFEST_BYTES = 1 << 20
TEXT_BYTES = 8 << 10
HEADER_BYTES = 8 << 10
FLUSH_BYTES = 1 << 20
IDLE_S = 30.0
WHOLE_S = 3600.0
TARS = (".tar", ".tar.gz", ".tgz", ".tar.xz")


@dataclass(frozen=True, slots=True)
class Upload:
    """What was sent: paths of the spooled files, and the texts by their field."""

    artifact: Path
    manifest: Path | None
    texts: dict[str, str]
    size: int


@asynccontextmanager
async def received(request: Request, spool: Path, limit: int) -> AsyncIterator[Upload]:
    """The upload, whose folder is removed at the end. Raises BadInput, TooLarge, DeadlineExceeded."""
    folder = spool / secrets.token_hex(8)
    await asyncio.to_thread(folder.mkdir, 0o700, True)
    try:
        yield await _receive(request, folder, limit)
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, True))


def clear(spool: Path) -> None:
    """Makes the spool anew: what an ended process left behind belongs to nobody."""
    shutil.rmtree(spool, ignore_errors=True)
    spool.mkdir(mode=0o700, parents=True)


async def _receive(request: Request, folder: Path, limit: int) -> Upload:
    form = _Form(folder, limit)
    parser = MultipartParser(_boundary(request), form.callbacks())  # type: ignore[arg-type]
    deadline = time.monotonic() + WHOLE_S
    stream = request.stream()
    try:
        while not form.ended:
            wait = min(IDLE_S, deadline - time.monotonic())
            chunk = await asyncio.wait_for(anext(stream), wait)
            parser.write(chunk)
            if form.waiting >= FLUSH_BYTES:
                await asyncio.to_thread(form.flush)
        await asyncio.to_thread(form.flush)
    except TimeoutError:
        raise DeadlineExceeded("the upload did not arrive in time", code="upload_timeout") from None
    except StopAsyncIteration:
        raise BadInput("the multipart body ends before its last boundary", code="bad_multipart") from None
    except MultipartParseError as error:
        raise BadInput(f"the multipart body is malformed: {error}", code="bad_multipart") from None
    finally:
        form.close()
    return form.upload()


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary or len(boundary) > 200:
        raise BadInput(
            "send multipart/form-data with `artifact` and perhaps `manifest`, `version`, `reason`; "
            'or JSON {"bento": tag}',
            field="content-type",
        )
    return boundary


@dataclass(slots=True)
class _Form:
    """The parts as they come. Bytes of files wait in `_pending` until they are written off the loop."""

    folder: Path
    limit: int
    ended: bool = False
    waiting: int = 0
    _size: int = 0
    _part: str = ""
    _left: int = 0
    _header: tuple[bytearray, bytearray] = field(default_factory=lambda: (bytearray(), bytearray()))
    _headers: dict[str, str] = field(default_factory=dict)
    _texts: dict[str, bytearray] = field(default_factory=dict)
    _paths: dict[str, Path] = field(default_factory=dict)
    _files: dict[str, IO[bytes]] = field(default_factory=dict)
    _pending: list[tuple[IO[bytes], bytes]] = field(default_factory=list)

    def callbacks(self) -> dict[str, object]:
        """For the parser."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._grow(0, data[start:end]),
            "on_header_value": lambda data, start, end: self._grow(1, data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._open,
            "on_part_data": self._data,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._headers = {}

    def _grow(self, which: int, data: bytes) -> None:
        self._header[which].extend(data)
        if len(self._header[which]) > HEADER_BYTES:
            raise BadInput("a header of a part is too long", code="bad_multipart")

    def _header_end(self) -> None:
        name, value = (part.decode("latin-1") for part in self._header)
        self._header = (bytearray(), bytearray())
        self._headers[name.lower()] = value

    def _open(self) -> None:
        """A part begins: what it is called decides where it goes and how long it may be."""
        _, options = parse_options_header(self._headers.get("content-disposition", ""))
        name = options.get(b"name", b"").decode("utf-8", "replace")[:80]
        if name not in FILES + TEXTS:
            known = ", ".join(FILES + TEXTS)
            raise BadInput(f"unknown part {name!r}; known: {known}", code="unknown_field", field=name)
        if name in self._paths or name in self._texts:
            raise BadInput(f"part {name} is there twice", field=name)
        self._part = name
        if name in TEXTS:
            self._texts[name], self._left = bytearray(), TEXT_BYTES
            return
        given = options.get(b"filename", b"").decode("utf-8", "replace")
        path = self.folder / (_artifact_name(given) if name == "artifact" else "manifest.sent.yaml")
        self._left = self.limit if name == "artifact" else MANIFEST_BYTES
        self._paths[name], self._files[name] = path, path.open("xb")

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._left -= end - start
        if self._left < 0:
            raise TooLarge(f"part {self._part} is over its limit", field=self._part)
        if self._part in TEXTS:
            self._texts[self._part] += data[start:end]
            return
        self._pending.append((self._files[self._part], data[start:end]))
        self.waiting += end - start
        self._size += end - start

    def _end(self) -> None:
        self.ended = True

    def flush(self) -> None:
        """Writes what waits; called off the loop, while the parser rests."""
        for file, data in self._pending:
            file.write(data)
        self._pending.clear()
        self.waiting = 0

    def close(self) -> None:
        """Closes the files."""
        for file in self._files.values():
            file.close()

    def upload(self) -> Upload:
        """The whole; raises BadInput where the artifact is missing or a text is none."""
        artifact = self._paths.get("artifact")
        if artifact is None:
            raise BadInput("part artifact is missing", field="artifact")
        texts = {}
        for name, raw in self._texts.items():
            try:
                texts[name] = raw.decode()
            except UnicodeDecodeError:
                raise BadInput(f"part {name} is no UTF-8", field=name) from None
        return Upload(artifact, self._paths.get("manifest"), texts, self._size)


def _artifact_name(given: str) -> str:
    """The only thing taken from the sender's file name is which kind it is."""
    lower = given.lower()
    for ending in TARS:
        if lower.endswith(ending):
            return f"artifact{ending}"
    return "artifact.onnx"
