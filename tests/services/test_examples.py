"""The example services as their users have them: built by `bentos.custom`, run by the public `bentoml serve`,
asked by BentoML's own client. What an example needs and this environment lacks is laid over it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.metadata
import json
import os
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bentos import custom
from tests.bentos.test_generic import served

with warnings.catch_warnings():
    # Importing BentoML makes a dependency of it warn of its own future.
    warnings.simplefilter("ignore", DeprecationWarning)
    from bentoml import AsyncHTTPClient, SyncHTTPClient
    from bentoml.exceptions import BentoMLException

Serve = Callable[[str], contextlib.AbstractContextManager[SyncHTTPClient]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BentoML home of this module's own."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def serve(store: Path, tmp_path: Path) -> Serve:
    """Builds NAME/VERSION and serves it, each in a folder of its own; gives a client."""

    @contextlib.contextmanager
    def one(name: str) -> Iterator[SyncHTTPClient]:
        (folder,) = custom.examples((name,))
        tag = custom.build(folder, store)
        place = tmp_path / name.replace("/", "-")
        place.mkdir()
        with (
            served(store, tag, place, PYTHONPATH=overlay(requirements(store, tag), place)) as address,
            SyncHTTPClient(address) as client,
        ):
            yield client
            client._temp_dir.cleanup()  # close() leaves it to the garbage collector, which warns

    return one


def requirements(store: Path, tag: str) -> dict[str, str]:
    """The pins that the built bento carries."""
    name, _, version = tag.partition(":")
    bento = store / "bentos" / name / version
    listed = (bento / "env" / "python" / "requirements.txt").read_text().split()
    return dict(line.split("==") for line in listed)


def overlay(pins: dict[str, str], folder: Path) -> str:
    """A folder with those pins that are not met here, for PYTHONPATH; skips without a package index."""
    missing = [f"{name}=={version}" for name, version in pins.items() if installed(name) != version]
    target = folder / "overlay"
    if missing:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target)]
        command += ["--disable-pip-version-check", "--retries", "0", "--timeout", "15"]
        done = subprocess.run([*command, *missing], capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            pytest.skip(f"{', '.join(missing)} cannot be had: {done.stderr[-300:]}")
    return str(target)


def installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def address_of(client: SyncHTTPClient) -> str:
    return str(client.url)


def picture(path: Path, rows: list[list[tuple[int, int, int]]]) -> Path:
    """Writes a PNG of these pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 2, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + bytes(value for pixel in row for value in pixel) for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b""))
    return path


def shape_of(png: bytes) -> tuple[int, int, int]:
    """Width, height and colour type (0 grey, 2 RGB) of a PNG."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height, _, kind = struct.unpack(">IIBB", png[16:26])
    return width, height, kind


async def reported(address: str, text: str) -> Any:
    """The result of the task: by the asynchronous client, as `submit` of 1.4.39's synchronous one is broken."""
    async with AsyncHTTPClient(address) as client:
        task = await client.report.submit(text=text, seconds=0.1)
        async with asyncio.timeout(20):
            while (status := (await task.get_status()).value) in ("pending", "in_progress"):
                await asyncio.sleep(0.02)
        assert status == "completed"
        result = await task.get()
        client._temp_dir.cleanup()
        return result


GOOD = "The kettle is REALLY excellent, I recommend it https://example.com/awful-broken"
BAD = "this lamp was simply broken, I want my money back"


def test_text_1_tells_good_from_bad(serve: Serve) -> None:
    with serve("text/1") as client:
        answer = client.classify(texts=[GOOD, BAD])
        columns = client.scores(texts=[BAD])
        with pytest.raises(BentoMLException) as refused:
            client.classify(texts=[])
    assert answer["version"] == "1"
    assert [each["label"] for each in answer["verdicts"]] == ["positive", "negative"]
    assert all(each["confidence"] > 0.8 for each in answer["verdicts"])
    # Rows do not depend on each other: what a tensor contract would declare.
    assert columns == {"label": ["negative"], "confidence": [answer["verdicts"][1]["confidence"]]}
    assert refused.value.error_code == 400


def test_text_2_knows_neutral_and_not(serve: Serve) -> None:
    with serve("text/2") as client:
        texts = [GOOD, "the chair is quite ordinary", "the chair is not excellent", "the chair is not awful"]
        answer = client.classify(texts=texts)
    assert answer["version"] == "2"
    labels = [each["label"] for each in answer["verdicts"]]
    assert labels == ["positive", "neutral", "negative", "positive"]
    for each in answer["verdicts"]:
        assert set(each["scores"]) == {"negative", "neutral", "positive"}
        assert each["confidence"] == max(each["scores"].values())
        assert sum(each["scores"].values()) == pytest.approx(1, abs=1e-5)


PIXELS = [[(255, 0, 0), (0, 0, 0)], [(0, 0, 255), (0, 255, 0)], [(255, 255, 255), (0, 0, 0)]]


@pytest.mark.parametrize(
    ("version", "wanted", "kind"),
    [
        (
            "1",
            {"width": 2, "height": 3, "brightness": 85.0, "red": 85.0, "green": 85.0, "blue": 85.0},
            2,
        ),
        (
            "2",
            # 0, 0, 29.07, 76.245, 149.685 and 255: as the eye weighs black, blue, red, green and white
            {
                "width": 2,
                "height": 3,
                "brightness": 85.0,
                "contrast": 91.959,
                "histogram": [3, 0, 1, 0, 1, 0, 0, 1],
            },
            0,
        ),
    ],
)
def test_image_measures_and_answers_with_an_image(
    serve: Serve, tmp_path: Path, version: str, wanted: dict[str, Any], kind: int
) -> None:
    small = picture(tmp_path / "small.png", PIXELS)
    wide = picture(tmp_path / "wide.png", [[(9, 9, 9)] * 200] * 100)
    text = tmp_path / "text.png"
    text.write_text("no picture")
    with serve(f"image/{version}") as client:
        measures = client.measure(image=small)
        # Not by the client: it needs Pillow to hand out any file.
        answer = httpx.post(
            f"{address_of(client)}/thumbnail",
            files={"image": ("wide.png", wide.read_bytes(), "image/png")},
            data={"side": "50"},
        )
        with pytest.raises(BentoMLException) as refused:
            client.measure(image=text)
    assert measures == {"version": version, **wanted}
    assert answer.headers["content-type"] == "image/png"
    assert shape_of(answer.content) == (50, 25, kind)
    assert refused.value.error_code == 400


@pytest.mark.parametrize(
    ("version", "names", "letters"),
    [("1", ["tick", "tock", "tick"], {}), ("2", ["ping", "pong", "ping", "done"], {"letters": 16})],
)
def test_stream_answers_piece_by_piece(
    serve: Serve, tmp_path: Path, version: str, names: list[str], letters: dict[str, int]
) -> None:
    upload = tmp_path / "upload.bin"
    upload.write_bytes(os.urandom(300_000))
    with serve(f"stream/{version}") as client:
        events = "".join(client.events(count=3)).split("\n\n")[:-1]
        chunks = "".join(client.chunks(count=4, size=10))
        receipt = client.digest(file=upload)
        report = asyncio.run(reported(address_of(client), "three little words"))
        with httpx.stream("POST", f"{address_of(client)}/events", json={"count": 1}) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            answer.read()
        with httpx.stream("POST", f"{address_of(client)}/chunks", json={"count": 1}) as answer:
            assert answer.headers["content-type"].startswith("text/plain")
            answer.read()
    assert [event.splitlines()[1].removeprefix("event: ") for event in events] == names
    told = [json.loads(event.splitlines()[2].removeprefix("data: ")) for event in events]
    assert told == [{"number": number, "version": version} for number in range(len(names))]
    assert chunks == "".join(f"{version} {number} ".ljust(9, ".") + "\n" for number in range(4))
    data = upload.read_bytes()
    assert receipt == {"version": version, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert report == {"version": version, "words": 3, **letters}


def test_the_first_event_does_not_wait_for_the_last(serve: Serve) -> None:
    body = {"count": 1_000_000, "pause_ms": 10_000}
    with (
        serve("stream/1") as client,
        httpx.stream("POST", f"{address_of(client)}/events", json=body, timeout=8) as answer,
    ):
        assert next(answer.iter_lines()) == "id: 0"


def test_conflict_runs_on_its_own_orjson(serve: Serve) -> None:
    with serve("conflict/1") as client:
        answer = client.read(text='{"a": [1, 2.5]}')
        with pytest.raises(BentoMLException) as refused:
            client.read(text="{")
    assert answer == {"orjson": "3.10.18", "value": {"a": [1, 2.5]}}
    assert refused.value.error_code == 400
    assert installed("orjson") != "3.10.18", "the example no longer conflicts with the gateway's lock"


def test_building_twice_builds_once_and_leaves_the_sources_alone(store: Path) -> None:
    (folder,) = custom.examples(("text/1",))
    before = custom.digest(folder)
    tag = custom.build(folder, store)
    name, _, version = tag.partition(":")
    noted = store / "bentos" / name / version / "bento.yaml"
    built = noted.stat().st_mtime_ns
    assert custom.build(folder, store) == tag
    assert noted.stat().st_mtime_ns == built
    assert (noted.parent / "src" / "model.npz").is_file()
    assert not (folder / "model.npz").exists()
    assert custom.digest(folder) == before
