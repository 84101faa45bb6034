"""Register, deploy and undeploy over HTTP; none of them ever changes a route."""

from __future__ import annotations

import asyncio
from pathlib import Path as FilePath
from typing import Any

import yaml
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path

from router.control.answer import answer
from router.control.away import answering
from router.control.bentos import register_bento
from router.control.body import Deploy, Undeploy, only, read_form, seconds
from router.control.inspection import inspect
from router.control.numbering import busy, gone, numbered
from router.control.plane import Plane, actor_of, model_of, plane_of, version_of
from router.control.routes import unknown_model, unknown_version
from router.control.upload import Upload, received
from router.control.warmth import wait_until_warm
from router.documents import ModelState
from router.errors import BadInput, TooLarge
from router.names import check_name
from router.route.deployment import require_unrouted

REPLICAS = 64
WAIT_S = 3600.0
SLACK_BYTES = 2 << 20  # of a multipart body, over its artifact


async def register(request: Request) -> Response:
    """Takes an artifact in as a new version; 201 with its document and the inspection's report."""
    plane = plane_of(request)
    model = check_name(request.path_params["model"], "model")
    only(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
        return await register_bento(request, plane, model)
    limit = plane.settings.artifact_bytes
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit + SLACK_BYTES:
        raise TooLarge(f"the artifact may have {limit} bytes", field="artifact")
    if plane.inspections.locked() or plane.uploads.locked():
        raise busy()
    async with plane.uploads, received(request, plane.settings.data_dir / "spool", limit) as upload:
        stated = await _stated(upload)
        async with numbered(plane, model, stated) as version:
            document, report = await _judged(plane, request, upload, (model, version))
            reason = upload.texts.get("reason") or None
            async with answering() as sent:
                breaking = await plane.signatures.against_active(plane.registry, model, document)
                sent.maybe = True
                revision = await plane.registry.add_version(document, actor_of(request, reason))
    if breaking is not None:
        report["breaking"] = breaking
    headers = {"location": f"/api/v1/models/{model}"}
    return answer({**document, "report": report, "revision": revision}, 201, headers)


async def _judged(
    plane: Plane, request: Request, upload: Upload, name: tuple[str, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    if plane.inspections.locked():
        raise busy()
    async with plane.inspections:
        found = await inspect(plane.settings, upload.artifact, upload.manifest, name, gone(request))
    return found.document, found.report


async def _stated(upload: Upload) -> str | None:
    """The version the caller asks for, in the form or the manifest; None: the next number."""
    asked = upload.texts.get("version") or None
    written = None if upload.manifest is None else await asyncio.to_thread(_written, upload.manifest)
    for given in (asked, written):
        if given is not None:
            check_name(given, "version")
    if asked is not None and written is not None and asked != written:
        raise BadInput(
            f"the manifest is for version {written!r}, the form says {asked!r}",
            code="manifest_mismatch",
            field="version",
        )
    return asked or written


def _written(manifest: FilePath) -> str | None:
    """The version in a manifest. All else in it is for the registration tool to judge."""
    try:
        document = yaml.safe_load(manifest.read_bytes())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        text = str(error).replace("\n", " ")[:300]
        raise BadInput(f"the manifest is no YAML: {text}", code="bad_manifest", field="manifest") from None
    found = document.get("version") if isinstance(document, dict) else None
    return None if found is None else str(found)


async def deploy(request: Request) -> Response:
    """Asks for replicas; with `?wait=SECONDS` answers when they are ready, or says why they are not."""
    plane, model, version = plane_of(request), model_of(request), version_of(request)
    only(request, "wait")
    wait = seconds(request, "wait", WAIT_S)
    form = await read_form(request, Deploy)
    if not 1 <= form.replicas <= REPLICAS:
        raise BadInput(f"replicas must be 1 to {REPLICAS}; `undeploy` asks for none", field="replicas")
    async with answering() as sent:
        await require_version(plane, model, version)
        sent.maybe = True
        async with plane.turn(model):
            revision = await plane.registry.deploy(
                model, version, form.replicas, actor_of(request, form.reason)
            )
    status, ready = 202, None
    if wait is not None:
        ready = await wait_until_warm(plane.registry, (model, version), form.replicas, wait)
        status = 200
    document = {"model": model, "version": version, "replicas": form.replicas, "revision": revision}
    return answer(document | ({} if ready is None else {"ready": ready}), status)


async def undeploy(request: Request) -> Response:
    """Asks for no replica of a version that no route needs."""
    plane, model, version = plane_of(request), model_of(request), version_of(request)
    only(request)
    form = await read_form(request, Undeploy)

    def allow(state: ModelState) -> None:
        require_unrouted(state, version, force=form.force)

    async with answering() as sent:
        await require_version(plane, model, version)
        sent.maybe = True
        async with plane.turn(model):
            revision = await plane.registry.undeploy(model, version, actor_of(request, form.reason), allow)
    return answer({"model": model, "version": version, "replicas": 0, "revision": revision}, 202)


async def require_version(plane: Plane, model: str, version: str) -> None:
    if not await plane.registry.exists(model):
        raise unknown_model(model)
    if not await plane.registry.version_documents([(model, version)]):
        raise unknown_version(model, version)


PATHS = [
    Path("/models/{model}/versions", register, methods=["POST"]),
    Path("/models/{model}/versions/{version}/deploy", deploy, methods=["POST"]),
    Path("/models/{model}/versions/{version}/undeploy", undeploy, methods=["POST"]),
]
