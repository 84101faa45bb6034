"""Key and file of the signed heads: private, whole, bounded, shared by processes; real files."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from router.audit import signing
from router.audit.chain import signed_head
from router.audit.notary import KEPT, Notary, open_notary
from tests.audit.trails import FORGER

NOW = "2026-01-01T00:00:00.000000Z"


def run(folder: Path, story: Callable[[Notary], Awaitable[Any]], limit: int = 1 << 20) -> Any:
    """A notary for the time of a story."""

    async def main() -> Any:
        notary = Notary(folder, limit)
        try:
            return await story(notary)
        finally:
            assert await notary.synced()
            notary.close()

    return asyncio.run(main())


async def kept(notary: Notary, *seqs: int, chain: str = "m") -> None:
    for seq in seqs:
        notary.keep(notary.sign(chain, seq, f"{seq:064d}", NOW))
    assert await notary.synced()


def test_all_is_private_and_stays(tmp_path: Path) -> None:
    async def first(notary: Notary) -> str:
        assert notary.fresh
        await kept(notary, 1, 2)
        return notary.key.id

    async def second(notary: Notary) -> None:
        assert not notary.fresh
        assert notary.key.id == key
        assert notary.last() == {"m": 2}
        await kept(notary, 3)
        assert notary.last() == {"m": 3}
        for line in notary.heads():
            finding, seq, digest = signed_head(orjson.loads(line), "m", notary.trusted(), signing.verify)
            assert (finding, digest) == (None, f"{seq:064d}")
        assert [orjson.loads(line)["seq"] for line in notary.heads()] == [1, 2, 3]

    key = run(tmp_path, first)
    run(tmp_path, second)
    folder = tmp_path / "audit"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert {path.name for path in folder.iterdir()} == {"signing.key", "signing.pub", "heads.jsonl", "lock"}


def test_a_full_file_is_put_aside_and_every_chain_goes_on_in_the_new_one(tmp_path: Path) -> None:
    async def story(notary: Notary) -> None:
        await kept(notary, 1, chain="quiet")
        for start in range(1, 200, 10):
            await kept(notary, *range(start, start + 10), chain="busy")
        present = notary._folder / "heads.jsonl"
        older = sorted(notary._folder.glob("heads-*.jsonl"))
        assert len(older) == KEPT
        assert sum(path.stat().st_size for path in (*older, present)) < (KEPT + 1) * (2000 + 4000)
        heads = [orjson.loads(line) for line in present.read_bytes().splitlines()]
        assert {"quiet", "busy"} == {head["chain"] for head in heads}
        assert max(head["seq"] for head in heads if head["chain"] == "busy") == 200

    run(tmp_path, story, limit=2000)


def test_a_line_cut_short_by_a_crash_harms_no_other(tmp_path: Path) -> None:
    run(tmp_path, lambda notary: kept(notary, 1))
    path = tmp_path / "audit" / "heads.jsonl"
    path.write_bytes(path.read_bytes() + b'{"chain":"m","se')

    async def story(notary: Notary) -> None:
        await kept(notary, 2)
        assert [line[:11] for line in notary.heads()] == [b'{"chain":"m"'[:11]] * 3
        assert notary.last() == {"m": 2}

    run(tmp_path, story)


def test_processes_share_key_and_file(tmp_path: Path) -> None:
    """Four at once, also the making of the key and the turning of the file."""
    code = (
        "import asyncio, sys; from pathlib import Path; from router.audit.notary import Notary\n"
        "async def main():\n"
        "    notary = Notary(Path(sys.argv[1]), 60_000)\n"
        "    for seq in range(1, 101):\n"
        f"        notary.keep(notary.sign(sys.argv[2], seq, '0' * 64, {NOW!r}))\n"
        "        if seq % 10 == 0: assert await notary.synced(20)\n"
        "    print(notary.key.id); notary.close()\n"
        "asyncio.run(main())\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), f"m{n}"], stdout=subprocess.PIPE)
        for n in range(4)
    ]
    told = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert len(set(told)) == 1

    async def story(notary: Notary) -> None:
        heads = {(head["chain"], head["seq"]) for head in map(orjson.loads, notary.heads())}
        assert heads == {(f"m{n}", seq) for n in range(4) for seq in range(1, 101)}
        assert notary.last() == {f"m{n}": 100 for n in range(4)}

    run(tmp_path, story)


def test_a_new_key_leaves_the_old_one_trusted(tmp_path: Path) -> None:
    async def key(notary: Notary) -> str:
        await kept(notary, 1)
        return notary.key.id

    old = run(tmp_path, key)
    (tmp_path / "audit" / "signing.key").unlink()

    async def story(notary: Notary) -> None:
        assert notary.key.id != old
        assert set(notary.trusted()) == {old, notary.key.id}

    run(tmp_path, story)


def test_keys_of_other_hosts_are_trusted_by_a_file(tmp_path: Path) -> None:
    async def story(notary: Notary) -> None:
        (notary._folder / "trusted").mkdir()
        (notary._folder / "trusted" / "other-host.pub").write_text(signing.pem(FORGER.public))
        assert FORGER.id in notary.trusted()
        (notary._folder / "trusted" / "nonsense").write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END")
        with pytest.raises(ValueError, match="no Ed25519"):
            notary.trusted()

    run(tmp_path, story)


def test_a_broken_key_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "signing.key").write_text("no key")
    assert open_notary(tmp_path) is None


def test_a_disk_that_fails_loses_the_head_and_not_the_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(notary: Notary) -> None:
        with monkeypatch.context() as patched:
            patched.setattr("router.audit.notary.os.write", _no_space)
            notary.keep(notary.sign("m", 1, "0" * 64, NOW))
        assert notary.heads() == []
        await kept(notary, 2)
        assert notary.last() == {"m": 2}

    def _no_space(*_: object) -> int:
        raise OSError(28, "No space left on device")

    run(tmp_path, story)
