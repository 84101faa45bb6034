"""Two installations on one Redis behind nginx, configured as the documents say: either goes, nobody notices."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Final

from bentos.build import HERE, build, recipes
from loadtests.bench.proxies import MISSING, Nginx, installed
from loadtests.caller import Load, Seen, digit_rows
from loadtests.fleet import Fleet, alive, free_ports, wait_for
from loadtests.proofs.figures import Figures, Skipped, milliseconds
from loadtests.proofs.flips import PATH
from router.journal.reader import Reader

PAGE: Final = Path(__file__).parents[2] / "docs" / "deployment.md"
FRAME: Final = """\
daemon off; master_process on; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
{block}
}}
"""


def configuration(folder: Path, port: int, first: int, second: int) -> str:
    """The block of the documents, with the addresses of here."""
    (block,) = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for theirs, ours in (
        ("10.0.0.1:8000", f"127.0.0.1:{first}"),
        ("10.0.0.2:8000", f"127.0.0.1:{second}"),
        ("listen 80;", f"listen 127.0.0.1:{port};"),
    ):
        assert theirs in block, theirs
        block = block.replace(theirs, ours)
    return FRAME.format(folder=folder, block=block)


@contextmanager
def pair(redis_url: str) -> Iterator[tuple[Fleet, Fleet]]:
    """Both run version 1 of digits, which is active."""
    hosts = Fleet(redis_url=redis_url), Fleet(redis_url=redis_url)
    try:
        for host in hosts:
            host.start()
        release(*hosts)
        yield hosts
    except BaseException:
        print(*(host.tail() for host in hosts), sep="\n", file=sys.stderr)
        raise
    finally:
        for host in hosts:
            host.remove()


def release(first: Fleet, second: Fleet) -> None:
    """As an operator does it: registered on one host, its artifacts copied to the other, then deployed."""
    (recipe,) = recipes(("digits/1",))
    built = HERE / "build" / "digits" / recipe.name
    build(recipe, built)
    words = ["register", str(built / "model.onnx"), "--manifest", str(built / "manifest.yaml")]
    done = first.cli(*words, "--model", "digits", "--version", "1", "--json")
    assert done.returncode == 0, done.stderr
    shutil.copytree(first.data_dir / "bentoml", second.data_dir / "bentoml", dirs_exist_ok=True)
    first.ask("POST", "/models/digits/versions/1/deploy", params={"wait": 60}, json={"replicas": 1})
    wait_for(lambda: len(nodes(first)) == 2, 30, second.tail)
    first.promote("digits", "1")
    wait_for(second.ready, 10, second.tail)


def nodes(host: Fleet) -> set[str]:
    """The hosts that have a ready replica. One of a host that was killed is still listed as such."""
    replicas = host.status()["replicas"]
    return {each["node"] for each in replicas if each["state"] == "ready" and alive(each["pid"])}


def whole(host: Fleet) -> None:
    """Starts a host and returns when it has its own replica again: before that the other one may not go."""
    host.start()
    wait_for(lambda: len(nodes(host)) == 2, 30, host.tail)


def either_goes(redis_url: str, rounds: int) -> Figures:
    """Each host in turn ends by SIGTERM and by kill -9, and comes back, `rounds` times. Skipped without nginx."""
    if installed() is None:
        raise Skipped(MISSING)
    (port,) = free_ports(1)
    with pair(redis_url) as hosts, tempfile.TemporaryDirectory(prefix="pm-nginx-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx' worker is another user when its master is root's
        nginx = Nginx(folder, configuration(folder, port, hosts[0].port, hosts[1].port))
        try:
            return asyncio.run(_either_goes(hosts, port, rounds))
        finally:
            nginx.close()


async def _either_goes(hosts: tuple[Fleet, Fleet], port: int, rounds: int) -> Figures:
    load = Load(port, PATH, digit_rows(), 8, rate=200.0)
    load.start()
    await asyncio.sleep(2)
    gone: dict[str, list[tuple[float, float]]] = {"SIGTERM": [], "kill -9": []}
    for _ in range(rounds):
        for name, number in (("SIGTERM", signal.SIGTERM), ("kill -9", signal.SIGKILL)):
            for host in hosts:
                began = monotonic()
                await asyncio.to_thread(host.stop, number)
                await asyncio.sleep(1)
                await asyncio.to_thread(whole, host)
                gone[name].append((began, monotonic()))
                await asyncio.sleep(1)
    seen = await load.stop()
    failed = [each for each in seen if each.status != 200]
    assert not failed, (len(failed), [(each.sent - seen[0].sent, each) for each in failed[:5]])
    stored, twice = records(hosts)
    missing = {each.request_id for each in seen} - stored
    assert not missing, (len(missing), sorted(missing)[:5])
    assert not twice, twice
    figures: Figures = {
        "requests": len(seen),
        "failed": 0,
        "answered and not stored": 0,
        "twice by record id": 0,
        "ended by SIGTERM": len(gone["SIGTERM"]),
        "ended by kill -9": len(gone["kill -9"]),
    }
    for name, spans in gone.items():
        figures |= milliseconds([each.took for each in seen if within(each, spans)], name)
    return figures


def within(seen: Seen, spans: list[tuple[float, float]]) -> bool:
    """Whether a request was sent in one of these times."""
    return any(began <= seen.sent <= ended for began, ended in spans)


def records(hosts: tuple[Fleet, Fleet]) -> tuple[set[str], int]:
    """The request ids in the journals of both, and how many records share an id within one."""
    found: set[str] = set()
    twice = 0
    for host in hosts:
        ids: set[str] = set()
        cursor: str | None = None
        while True:
            page = Reader(host.data_dir / "journal").page(limit=1000, cursor=cursor)
            found.update(str(record["request_id"]) for record in page.records)
            twice += sum(str(record["record_id"]) in ids for record in page.records)
            ids.update(str(record["record_id"]) for record in page.records)
            cursor = page.cursor
            if not page.more:
                break
    return found, twice
