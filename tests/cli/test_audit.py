"""`pointsman audit`: what it says, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from router.audit import signing
from router.registry import keys
from tests.audit.trails import FORGER
from tests.cli.conftest import Run
from tests.control.installation import Installation


@pytest.fixture
def used(here: Installation) -> Installation:
    here.versions("digits", "1", "2")
    here.versions("other", "1")
    for version in ("1", "2"):
        here.post("/models/digits/promote", {"version": version, "reason": "because"})
    return here


def narrow(text: str) -> bool:
    return all(len(line) <= 80 for line in text.splitlines())


def test_verify_the_running_installation(run: Run, used: Installation) -> None:
    result = run("audit", "verify", "--model", "digits")
    assert result.exit_code == 0
    assert result.stdout.startswith("digits: intact, 6 entries, head 6\n")
    assert narrow(result.stdout)
    whole = run("audit", "verify")
    assert whole.exit_code == 0
    told = [line.split(":")[0] for line in whole.stdout.splitlines() if not line.startswith(" ")]
    assert told == ["digits", "other", "#keys", "#installation"]
    document = json.loads(run("audit", "verify", "--model", "digits", "--json").stdout)
    assert document == used.client.get("/models/digits/audit/verify").json()
    assert [each["chain"] for each in json.loads(run("audit", "verify", "--json").stdout)["chains"]] == told
    with redis.Redis.from_url(used.redis_url) as client:
        client.lset(keys.audit("digits"), 3, client.lindex(keys.audit("digits"), 2))
    bad = run("audit", "verify", "--model", "digits")
    assert bad.exit_code == 1
    assert bad.stdout.startswith("digits: NOT intact: first bad seq 4\n  broken: entry 4 does not follow")
    assert run("audit", "verify").exit_code == 1
    assert json.loads(run("audit", "verify", "--model", "digits", "--json").stdout)["first_bad"] == 4


def test_export_and_verify_without_a_server(run: Run, used: Installation, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    result = run("audit", "export", "--model", "digits", "--from", "1h", "--out", str(out))
    assert result.exit_code == 0, result.output
    assert "digits: intact, 6 entries" in result.stdout
    code = "from router.cli.main import main; main()"
    words = [sys.executable, "-c", code, "audit", "verify", str(out)]
    environment = {"PATH": "/bin", "POINTSMAN_URL": "http://127.0.0.1:1", "XDG_STATE_HOME": str(tmp_path)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert run("audit", "export", "--model", "digits", "--out", str(out)).stderr.endswith("(not_empty)\n")
    lines = (out / "chain.jsonl").read_bytes().splitlines(keepends=True)
    (out / "chain.jsonl").write_bytes(b"".join(lines[:4] + lines[5:]))
    bad = run("audit", "verify", str(out))
    assert bad.exit_code == 1
    assert "first bad seq 5" in bad.stdout
    assert json.loads(run("audit", "verify", str(out), "--json").stdout)["first_bad"] == 5


def test_a_key_that_one_was_given(run: Run, used: Installation, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("audit", "export", "--model", "digits", "--out", str(out), "--json").exit_code == 0
    own = used.settings.data_dir / "audit" / "signing.pub"
    assert run("audit", "verify", str(out), "--pubkey", str(own)).exit_code == 0
    other = tmp_path / "other.pub"
    other.write_text(signing.pem(FORGER.public))
    bad = run("audit", "verify", str(out), "--pubkey", str(other), "--json")
    assert bad.exit_code == 1
    assert {each["kind"] for each in json.loads(bad.stdout)["findings"]} == {"unknown_key", "unsigned"}


def test_refusals(run: Run, used: Installation, tmp_path: Path) -> None:
    assert run("audit", "verify", str(tmp_path)).stderr.endswith("(no_export)\n")
    assert run("audit", "verify", "--model", "nothing").stderr.endswith("(unknown_model)\n")
    assert run("audit", "export", "--model", "nothing", "--out", str(tmp_path / "x")).exit_code == 1
    assert not (tmp_path / "x").exists()
    assert run("audit", "verify", str(tmp_path), "--model", "digits").exit_code == 2
    assert run("audit", "verify", "--pubkey", __file__).exit_code == 2
