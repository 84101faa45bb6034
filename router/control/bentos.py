"""Registers a bento of the BentoML store that `up` was started with; builds none, takes no path from callers."""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from router.control.answer import answer
from router.control.away import answering
from router.control.body import Bento, read_form
from router.control.inspection import inspect_bento
from router.control.numbering import busy, gone, numbered
from router.control.plane import Plane, actor_of
from router.errors import BadInput, NotFound, TooLarge
from router.names import check_name

KINDS = {"unknown_bento": NotFound, "bento_too_large": TooLarge}


def users_home() -> Path:
    """The BentoML store of the user who runs `up`: BENTOML_HOME, else ~/bentoml, as BentoML has it."""
    home = os.environ.get("BENTOML_HOME")
    return Path(home) if home else Path.home() / "bentoml"


async def register_bento(request: Request, plane: Plane, model: str) -> Response:
    """Copies a bento in as a new version; 201 with its document and the report."""
    form = await read_form(request, Bento)
    stated = _stated(form)
    if plane.inspections.locked():
        raise busy()
    async with numbered(plane, model, stated) as version:
        document, report = await _judged(plane, request, form, (model, version))
        async with answering() as sent:
            breaking = await plane.signatures.against_active(plane.registry, model, document)
            sent.maybe = True
            revision = await plane.registry.add_version(document, actor_of(request, form.reason))
    if breaking is not None:
        report["breaking"] = breaking
    headers = {"location": f"/api/v1/models/{model}"}
    return answer({**document, "report": report, "revision": revision}, 201, headers)


async def _judged(
    plane: Plane, request: Request, form: Bento, name: tuple[str, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    spooled = plane.settings.data_dir / "spool" / f"{secrets.token_hex(8)}.manifest.json"
    try:
        if form.manifest is not None:
            await asyncio.to_thread(_spool, spooled, msgspec.json.encode(form.manifest))
        manifest = None if form.manifest is None else spooled
        async with plane.inspections:
            found = await inspect_bento(
                plane.settings, (form.bento, users_home()), manifest, name, gone(request)
            )
    except BadInput as error:
        kind = KINDS.get(error.code)
        if kind is None:
            raise
        raise kind(error.message, code=error.code, field=error.field) from None
    finally:
        await asyncio.shield(asyncio.to_thread(spooled.unlink, missing_ok=True))
    return found.document, found.report


def _spool(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_bytes(data)


def _stated(form: Bento) -> str | None:
    """The version asked for, in the form or the manifest; None: the next number."""
    written = (form.manifest or {}).get("version")
    for given in (form.version, written):
        if given is not None:
            if not isinstance(given, str):
                raise BadInput("version must be text", field="manifest.version")
            check_name(given, "version")
    if None not in (form.version, written) and form.version != written:
        raise BadInput(
            f"the manifest is for version {written!r}, the form says {form.version!r}",
            code="manifest_mismatch",
            field="version",
        )
    return form.version or written
