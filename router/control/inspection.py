"""Has an uploaded artifact judged and stored by the registration tool, in processes that end with this one."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import structlog

from router.errors import BadInput, PointsmanError, Unavailable
from router.settings import Settings

TOOL = "services.inspect"
BENTO_TOOL = "services.bento"
OUTPUT_BYTES = 16 << 20
MARGIN_S = 15.0  # beyond the tool's own limit: its start and the storing
ENDING_S = 5.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Accepted:
    """The version document and what was found out about the artifact."""

    document: dict[str, Any]
    report: dict[str, Any]


class HungUp(PointsmanError):
    """The caller went away; nobody reads this."""

    status = 400
    code = "hung_up"


async def inspect(
    settings: Settings,
    artifact: Path,
    manifest: Path | None,
    name: tuple[str, str],
    gone: Callable[[], Awaitable[None]],
) -> Accepted:
    """Judges and stores; `name` is (model, version), `gone` returns when the caller has hung up.

    Raises BadInput with the tool's own code, Unavailable `inspection_failed` when the tool broke, HungUp.
    """
    return await _judged(settings, _command(settings, artifact, manifest, name), gone)


async def inspect_bento(
    settings: Settings,
    bento: tuple[str, Path],
    manifest: Path | None,
    name: tuple[str, str],
    gone: Callable[[], Awaitable[None]],
) -> Accepted:
    """Judges and copies a bento, given as (tag, the BentoML home it is in); all else as `inspect`."""
    (tag, home), (model, version) = bento, name
    command = [sys.executable, "-m", BENTO_TOOL, f"--tag={tag}", "--home", str(home), "--model", model]
    command += ["--version", version, "--max-bytes", str(settings.artifact_bytes), "--store"]
    if manifest is not None:
        command += ["--manifest", str(manifest)]
    return await _judged(settings, command, gone)


async def _judged(settings: Settings, command: list[str], gone: Callable[[], Awaitable[None]]) -> Accepted:
    reading, writing = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "router.agent.guard", "--life-fd", str(reading), "--grace", "0", "--"),
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=_environment(settings),
            pass_fds=(reading,),
        )
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)
    try:
        output = await _finished(process, gone, settings.inspect_timeout_s + MARGIN_S)
    finally:
        # The guard ends all it started when this pipe ends; so does the death of this process.
        os.close(writing)
        await asyncio.shield(asyncio.wait_for(process.wait(), ENDING_S))
    return _verdict(output, process.returncode)


def _command(settings: Settings, artifact: Path, manifest: Path | None, name: tuple[str, str]) -> list[str]:
    model, version = name
    command = [sys.executable, "-m", TOOL, "--artifact", str(artifact), "--model", model]
    command += ["--version", version, "--store"]
    command += ["--timeout", str(settings.inspect_timeout_s)]
    command += ["--cpu-seconds", str(settings.inspect_timeout_s)]
    command += ["--memory-mb", str(settings.inspect_memory_bytes >> 20)]
    if manifest is not None:
        command += ["--manifest", str(manifest)]
    return command


def _environment(settings: Settings) -> dict[str, str]:
    """The control process' own, without what names its Redis: the tool needs none."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("POINTSMAN_")}
    home = str((settings.data_dir / "bentoml").resolve())
    return kept | {"BENTOML_HOME": home, "BENTOML_DO_NOT_TRACK": "True", "OTEL_SDK_DISABLED": "true"}


async def _finished(
    process: asyncio.subprocess.Process, gone: Callable[[], Awaitable[None]], limit_s: float
) -> bytes:
    """All the tool printed; ends early when the caller is gone or the time is over."""
    assert process.stdout is not None
    reading = asyncio.ensure_future(_read(process.stdout))
    leaving = asyncio.ensure_future(gone())
    try:
        done, _ = await asyncio.wait({reading, leaving}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        if reading in done:
            return reading.result()
        if leaving in done:
            leaving.result()
            raise HungUp("the caller hung up during the inspection")
        raise BadInput("the inspection took too long", code="time_limit", field="artifact")
    finally:
        for task in (reading, leaving):
            task.cancel()
        await asyncio.gather(reading, leaving, return_exceptions=True)


async def _read(stream: asyncio.StreamReader) -> bytes:
    found = bytearray()
    while chunk := await stream.read(1 << 16):
        found += chunk
        if len(found) > OUTPUT_BYTES:
            raise Unavailable("the inspection printed too much", code="inspection_failed")
    return bytes(found)


def _verdict(output: bytes, status: int | None) -> Accepted:
    try:
        verdict = orjson.loads(output)
    except orjson.JSONDecodeError as error:
        log.error("inspection_broke", status=status, output=output[:500].decode("utf-8", "replace"))
        raise Unavailable(
            f"the inspection tool broke (status {status}); its host's log has more", code="inspection_failed"
        ) from error
    if verdict["ok"]:
        return Accepted(verdict["document"], verdict["report"])
    raise BadInput(verdict["error"], code=verdict["code"], field=verdict.get("field"))
