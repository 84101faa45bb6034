"""BentoML's own clients against `http://host/models/{m}`, a service started by `bentoml serve` behind it."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.edge.house import HERE, House, RouterProcess, until

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its dependencies
    import bentoml
    from _bentoml_impl.client.task import Task

# BentoML's client leaves its connections to the collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::DeprecationWarning"
)


@pytest.fixture(scope="module")
def texts(house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Model `texts`; gives its URL behind the router."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    home = tmp_path_factory.mktemp("bentoml")
    env = {
        **os.environ,
        "BENTOML_HOME": str(home),
        "BENTOML_DO_NOT_TRACK": "True",
        "OTEL_SDK_DISABLED": "true",
    }
    words = ["serve", "service:Texts", "--working-dir", str(HERE / "tests" / "edge" / "bento")]
    with (home / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("bentoml")), *words, "--host", "127.0.0.1", "-p", str(port)],
            env=env,
            stdout=log,
            stderr=log,
        )
    try:

        def ready() -> bool:
            assert process.poll() is None, (home / "serve.log").read_text()
            try:
                return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == 200
            except httpx.TransportError:
                return False

        until(ready, 40)
        house.add_version("texts", "1")
        house.seat("texts", "1", "texts-1-a", f"tcp:127.0.0.1:{port}")
        house.promote("texts", "1")
        yield f"{house.main.url}/models/texts"
    finally:
        process.terminate()
        process.wait(15)


def test_the_synchronous_client(texts: str, tmp_path: Path) -> None:
    file = tmp_path / "f.bin"
    file.write_bytes(bytes(range(256)) * 4000)
    with bentoml.SyncHTTPClient(texts) as client, client._temp_dir:
        assert client.is_ready()
        assert client.upper(text="ä b", times=2) == "Ä BÄ B"
        assert client.measure(file=file) == {"size": 1_024_000, "sum": sum(range(256)) * 4000 % 65521}
        assert "".join(client.words(text="one two three")) == "one\ntwo\nthree\n"
        with pytest.raises(bentoml.exceptions.BentoMLException):
            client.upper(text=5, times="many")


def test_the_asynchronous_client(texts: str, tmp_path: Path) -> None:
    file = tmp_path / "f.bin"
    file.write_bytes(b"abc")

    async def work() -> None:
        async with bentoml.AsyncHTTPClient(texts) as client:
            client._temp_dir.cleanup()  # nothing is in it, and nobody else removes it
            assert await client.is_ready()
            answers = await asyncio.gather(*(client.upper(text=f"a{number}") for number in range(20)))
            assert answers == [f"A{number}" for number in range(20)]
            assert await client.measure(file=file) == {"size": 3, "sum": 294}
            assert [part async for part in client.words(text="one two")] == ["one\n", "two\n"]

    asyncio.run(work())


def test_tasks(texts: str, router: RouterProcess) -> None:
    """BentoML's client drops the path of its URL when it submits (1.4.39, `copy_with(path=…)`), and only then."""
    submitted = httpx.post(f"{texts}/long/submit", json={"text": "abc"}, trust_env=False)
    assert submitted.status_code == 200
    task_id = submitted.json()["task_id"]
    assert task_id.endswith("~1~texts-1-a")
    with bentoml.SyncHTTPClient(texts) as client, client._temp_dir:
        # It goes to /long/submit (and its clean-up fails, too): when it works, the lines above may go.
        with pytest.raises((bentoml.exceptions.BentoMLException, AttributeError)):
            client.long.submit(text="abc")
        task = Task(task_id, client.endpoints["long"], client)
        until(lambda: task.get_status().value == "completed")
        assert task.get() == "cba"
        again = task.retry()
        assert again.id != task_id
        assert again.id.endswith("~1~texts-1-a")
        until(lambda: again.get_status().value == "completed")
        assert again.get() == "cba"


def test_what_a_service_answers_comes_back_as_it_was(texts: str) -> None:
    schema = httpx.get(f"{texts}/schema.json", trust_env=False).json()
    assert {route["route"] for route in schema["routes"]} == {"/upper", "/measure", "/words", "/long"}
    bad = httpx.post(f"{texts}/upper", json={"text": 5}, trust_env=False)
    assert bad.status_code == 400
    assert bad.json()[0]["error"] if isinstance(bad.json(), list) else bad.json()["error"]
    assert bad.headers["x-model-version"] == "1"
    wrong = httpx.get(f"{texts}/upper", trust_env=False)
    assert wrong.status_code == 405
    pickled = {"content-type": "application/vnd.bentoml+pickle"}
    assert httpx.post(f"{texts}/upper", content=b"x", headers=pickled, trust_env=False).status_code == 415
