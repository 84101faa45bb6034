"""The audit over HTTP: a chain as it is stored, what a verification finds, and the folder for an auditor."""

from __future__ import annotations

import asyncio
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO, Any

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route as Path

from router.audit import export, signing
from router.audit.chain import read_chain
from router.audit.stored import check_live
from router.audit.verdict import verdict
from router.clock import rfc3339
from router.control.answer import answer
from router.control.away import answering
from router.control.body import moment, only
from router.control.plane import Plane, model_of, plane_of
from router.control.routes import unknown_model
from router.errors import NotFound, Unavailable
from router.registry.keys import INSTALLATION, KEYRING
from router.registry.trail import Trail, pages, trail

LINES = "application/jsonl"
CHAINS = {"keys": KEYRING, "installation": INSTALLATION}
"""The chains that are no model's, by their outward names."""

READ_S = 60.0  # a long chain takes its time; each single answer of Redis has its own end
IN_MEMORY = 8 << 20
CHUNK = 64 << 10


async def lines(request: Request) -> Response:
    """The entries of a chain, oldest first, one canonical JSON document a line; `?from=` and `?to=` are times."""
    plane, chain = plane_of(request), await _chain(request)
    only(request, "from", "to")
    start, end = _period(request)
    source = pages(plane.registry, chain).__aiter__()
    async with answering():  # the first page before the status, so that a refusal is one
        first: list[bytes] = await anext(source, [])

    async def body() -> AsyncIterator[bytes]:
        page: list[bytes] = first
        while page:
            yield b"".join(line + b"\n" for line in page if _within(line, start, end))
            async with answering():
                page = await anext(source, [])

    return StreamingResponse(body(), media_type=LINES)


async def verify(request: Request) -> Response:
    """Holds a chain against itself, against the signed heads, and the stored state against the chain."""
    plane, chain = plane_of(request), await _chain(request)
    only(request)
    async with _turn(plane):
        heads = await _heads(plane, chain)  # first: what is signed meanwhile would seem to be missing
        async with answering(READ_S):
            found = await trail(plane.registry, chain)
        document = await asyncio.to_thread(_judged, plane, chain, heads, found)
    return answer(document)


async def exported(request: Request) -> Response:
    """The folder of an export, as a zip; `?from=` and `?to=` bound what `serving.csv` and the like tell."""
    plane, model = plane_of(request), await _chain(request)
    only(request, "from", "to")
    start, end = _period(request)
    async with _turn(plane):
        heads = await _heads(plane, model)
        async with answering(READ_S):
            found = await trail(plane.registry, model)
        period = (start, end, rfc3339(time.time()))
        archive = await asyncio.to_thread(_archive, plane, model, found, heads, period)
    name = f"audit-{model}.zip"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(_chunks(archive), media_type="application/zip", headers=headers)


async def public_keys(request: Request) -> Response:
    """The public keys that are trusted here; the first is the one that signs here."""
    only(request)
    found = await asyncio.to_thread(_pems, plane_of(request))
    return answer({"keys": [{"id": key, "pem": pem} for key, pem in found.items()]})


def _judged(plane: Plane, chain: str, heads: list[bytes], found: Trail) -> dict[str, Any]:
    trusted = plane.registry.notary.trusted() if plane.registry.notary else {}
    signed = [*heads, *([] if found.signed is None else [found.signed])]
    read = read_chain(found.lines, chain)
    findings = check_live(read, map(_json, signed), trusted, found.stored, signing.verify)
    return verdict(read, findings, len(trusted))


def _archive(
    plane: Plane, model: str, found: Trail, heads: list[bytes], period: tuple[str | None, str | None, str]
) -> IO[bytes]:
    last = [] if found.signed is None or found.signed in heads else [found.signed]
    kept = [*heads, *last]
    files = export.folder(model, found.lines, kept, found.stored.versions, _pems(plane), period)
    archive: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - the answer closes it
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("evidence/", b"")
        for path, body in files.items():
            out.writestr(path, body)
    archive.seek(0)
    return archive


async def _chunks(archive: IO[bytes]) -> AsyncIterator[bytes]:
    try:
        while chunk := await asyncio.to_thread(archive.read, CHUNK):
            yield chunk
    finally:
        archive.close()


def _pems(plane: Plane) -> dict[str, str]:
    notary = plane.registry.notary
    return {} if notary is None else {key: signing.pem(raw) for key, raw in notary.trusted().items()}


async def _heads(plane: Plane, chain: str) -> list[bytes]:
    """The signed heads of a chain that are kept on this host, each once."""
    notary = plane.registry.notary
    if notary is None:
        return []
    mark = b'"chain":' + orjson.dumps(chain)
    kept = await asyncio.to_thread(notary.heads)
    # A line that a crash cut short is none; nobody but this host writes there.
    return list(dict.fromkeys(line for line in kept if mark in line and _json(line) is not None))


async def _chain(request: Request) -> str:
    """The chain that a path names. Raises NotFound."""
    if "model" not in request.path_params:
        name = request.path_params["chain"]
        if name not in CHAINS:
            raise NotFound(f"there is no such chain; there are {', '.join(CHAINS)}")
        return CHAINS[name]
    model = model_of(request)
    async with answering():
        if not await plane_of(request).registry.exists(model):
            raise unknown_model(model)
    return model


@asynccontextmanager
async def _turn(plane: Plane) -> AsyncIterator[None]:
    """Two at once: a long chain takes memory and a core."""
    if plane.audits.locked():
        raise Unavailable("two audits are being read: again in a moment", code="audit_busy")
    async with plane.audits:
        yield


def _period(request: Request) -> tuple[str | None, str | None]:
    """`from` and `to` in the form of the entries' times. Raises BadInput."""
    now = time.time()
    given = (request.query_params.get(name) for name in ("from", "to"))
    start, end = (
        None if text is None else rfc3339(moment(text, now, name))
        for text, name in zip(given, ("from", "to"), strict=True)
    )
    return start, end


def _within(line: bytes, start: str | None, end: str | None) -> bool:
    if start is None and end is None:
        return True
    found = _json(line)
    told = str(found.get("time", "")) if isinstance(found, dict) else ""
    return (start is None or told >= start) and (end is None or told <= end)


def _json(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None


PATHS = [
    Path("/models/{model}/audit", lines),
    Path("/models/{model}/audit/verify", verify),
    Path("/models/{model}/audit/export", exported),
    Path("/audit", public_keys),
    Path("/audit/{chain}", lines),
    Path("/audit/{chain}/verify", verify),
]
