"""The registration tool: judges a model file in a limited process of its own and, if asked, stores it.

`python -m services.inspect --artifact FILE|DIR|TAR [--manifest FILE] --model NAME --version V [--store]` prints
one JSON document, `{"ok": true, "document", "report"}` or `{"ok": false, "error", "code", "field"?}`, and exits
with 0; any other exit code is a crash of the tool itself.

Codes: not_onnx, unknown_operator, unsupported_model, unsupported_type, unloadable; path_outside,
artifact_missing, artifact_link, artifact_altered; archive_bad, archive_link, archive_too_large; bad_manifest,
bad_name, manifest_mismatch, signature_mismatch, signature_needed; golden_missing, golden_invalid,
golden_mismatch, golden_needed, model_failed; not_rowwise; memory_limit, cpu_limit, time_limit, crashed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

for _name, _value in {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "OTEL_SDK_DISABLED": "true",
}.items():
    os.environ.setdefault(_name, _value)


def main(arguments: list[str] | None = None) -> int:
    """Judges one artifact and prints the verdict; returns 0."""
    options = _options(arguments)
    scratch = Path(tempfile.mkdtemp(prefix="pointsman-inspect-"))
    try:
        verdict = _limited(options, scratch)
        if verdict["ok"] and options.store:
            verdict = _store(verdict, scratch / "stage")
        elif verdict["ok"]:
            verdict["document"]["store"] = None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(json.dumps(verdict, allow_nan=False), flush=True)
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="services.inspect", description=__doc__)
    parser.add_argument("--artifact", type=Path, required=True)
    parser.add_argument("--manifest", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--store", action="store_true", help="put it into BentoML's model store")
    parser.add_argument("--memory-mb", type=int, default=4096, help="address space of the judging process")
    parser.add_argument("--cpu-seconds", type=int, default=60)
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds in all for the judging process")
    return parser.parse_args(arguments)


def _limited(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """The verdict of a child under limits; a child that dies of them, or of the model, is a refusal too."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _judge(options, scratch, writing)
    os.close(writing)
    deadline = time.monotonic() + options.timeout
    text, timed_out = _collect(reading, deadline)
    os.close(reading)
    if timed_out:
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if timed_out:
        return _refused(f"judging took longer than {options.timeout:g} s", "time_limit")
    if text:
        verdict: dict[str, Any] = json.loads(text)
        return verdict
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL):
        return _refused(
            f"judging took more than {options.cpu_seconds} s of CPU or too much memory", "cpu_limit"
        )
    return _refused(f"the model ends the process that loads it (status {status})", "crashed")


def _collect(reading: int, deadline: float) -> tuple[str, bool]:
    """All the child writes until it closes the pipe; True when the deadline came first."""
    parts: list[bytes] = []
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([reading], [], [], left)[0]:
            return "", True
        part = os.read(reading, 1 << 16)
        if not part:
            return b"".join(parts).decode(), False
        parts.append(part)


def _judge(options: argparse.Namespace, scratch: Path, writing: int) -> None:
    """The child's life: limits first, then everything that touches the file; never returns."""
    code = 1
    with contextlib.suppress(BaseException):
        os.dup2(2, 1)  # whatever a library prints must not reach the parent's one document
        _limit(options)
        verdict = json.dumps(_verdict(options, scratch), allow_nan=False).encode()
        while verdict:
            verdict = verdict[os.write(writing, verdict) :]
        code = 0
    os._exit(code)


def _limit(options: argparse.Namespace) -> None:
    size = options.memory_mb << 20
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CPU, (options.cpu_seconds, options.cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _verdict(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    from services.refusal import Refusal

    try:
        from services.manifest import check_name
        from services.registration import open_source, register

        check_name(options.model, "model")
        check_name(options.version, "version")
        source = open_source(options.artifact, options.manifest, scratch)
        document, report = register(source, options.model, options.version, scratch / "stage")
    except Refusal as refusal:
        return {"ok": False, **refusal.body()}
    except MemoryError:
        return _refused(f"judging took more than {options.memory_mb} MiB of memory", "memory_limit")
    except OSError as error:
        return _refused(f"the files cannot be read: {error.strerror}", "artifact_missing")
    usage = resource.getrusage(resource.RUSAGE_SELF)
    report["cpu_s"] = round(usage.ru_utime + usage.ru_stime, 2)
    report["peak_rss_mb"] = usage.ru_maxrss >> 10
    return {"ok": True, "document": document, "report": report}


def _store(verdict: dict[str, Any], stage: Path) -> dict[str, Any]:
    """Puts the staged files into the store, verified once more against the judged document."""
    from services.artifact import read_artifact, read_plain
    from services.document import ArtifactFile
    from services.refusal import Refusal
    from services.store import GOLDEN_FILE, put

    document = verdict["document"]
    try:
        artifact = read_artifact(stage, [ArtifactFile(**file) for file in document["artifacts"]])
        stored = put(document["model"], artifact, read_plain(stage, GOLDEN_FILE))
    except Refusal as refusal:
        return {"ok": False, **refusal.body()}
    if stored != document["store"]:
        return _refused("the stored files are not those that were judged", "artifact_altered")
    return verdict


def _refused(text: str, code: str) -> dict[str, Any]:
    return {"ok": False, "error": text, "code": code}


if __name__ == "__main__":
    sys.exit(main())
