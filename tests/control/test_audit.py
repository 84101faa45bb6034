"""The audit over HTTP on a real Redis: refusals stand in it, direct writes are found, the export proves itself."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.audit.folder import check_folder, read_folder
from router.control.witness import named
from router.documents import Route
from router.registry import keys
from router.registry.heads import keep_heads
from tests.audit.trails import FORGER, rehashed, signed
from tests.control.installation import TESTER, Installation, document, until
from tests.control.test_keys import by, make
from tests.control.test_redis_trouble import last_good

Direct = Callable[[redis.Redis], None]


def verified(here: Installation, path: str = "/models/digits/audit/verify") -> dict[str, Any]:
    """The verdict."""
    answer = here.client.get(path)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def chain(here: Installation, name: str = "digits") -> list[dict[str, Any]]:
    return list(here.call(here.registry.audit_chain(name)))


def busy(here: Installation) -> None:
    """A model with a history: versions, flips, a split, a rollback, an undeploy, a refusal."""
    here.versions("digits", "1", "2", "3")
    here.post("/models/digits/promote", {"version": "1", "reason": "=the first"})
    here.post("/models/digits/promote", {"version": "2"})
    here.post("/models/digits/split", {"weights": {"2": 90, "1": 10}})
    here.post("/models/digits/rollback", {"reason": "größer ≥"})
    here.post("/models/digits/versions/3/undeploy")
    assert here.post("/models/digits/promote", {"version": "3"}).status_code == 409


# -- refused attempts --------------------------------------------------------------------------------------


def test_a_refused_attempt_stands_in_the_chain_and_changes_nothing(here: Installation) -> None:
    here.versions("digits", "1")
    anna = make(here, "anna", "viewer")
    revision = here.call(here.registry.revision())
    answer = by(here, anna["secret"], "POST", "/models/digits/promote", json={"version": "1"})
    assert answer.status_code == 403
    entry = chain(here)[-1]
    assert entry | {"time": 0, "seq": 0, "prev": 0, "hash": 0} == {
        "seq": 0,
        "time": 0,
        "actor": "anna",
        "auth": f"key {anna['key']['id']}",
        "action": "route.promote",
        "object": "digits",
        "outcome": "refused",
        "before": None,
        "after": None,
        "reason": None,
        "ticket": None,
        "evidence": [],
        "path": "/api/v1/models/digits/promote",
        "code": "forbidden",
        "error": answer.json()["error"],
        "more": 0,
        "prev": 0,
        "hash": 0,
    }
    assert here.call(here.registry.revision()) == revision
    assert here.call(here.registry.model_state("digits")).route is None
    assert verified(here)["intact"]


@pytest.mark.parametrize(
    ("path", "body", "headers", "code", "action"),
    [
        ("promote", {"version": "2"}, {}, "not_deployed", "route.promote"),
        ("promote", {"version": "9"}, {}, "unknown_version", "route.promote"),
        ("promote", {"version": "1"}, {"if-match": "7"}, "epoch_mismatch", "route.promote"),
        ("split", {"weights": {"1": 90}}, {}, "bad_weights", "route.split"),
        ("rollback", {}, {}, "no_active_version", "route.rollback"),
        ("versions/2/undeploy", {}, {}, "not_deployed", "version.undeploy"),
        ("versions/9/deploy", {}, {}, "unknown_version", "version.deploy"),
    ],
)
def test_every_kind_of_refusal(
    here: Installation, path: str, body: object, headers: dict[str, str], code: str, action: str
) -> None:
    here.versions("digits", "1")
    here.versions("digits", "2", warm=False)
    answer = here.post(f"/models/digits/{path}", body, headers=headers)
    assert 400 <= answer.status_code < 500
    entry = chain(here)[-1]
    wanted = (action, "refused", answer.json()["code"], "admin")
    assert (entry["action"], entry["outcome"], entry["code"], entry["actor"]) == wanted
    if code != "not_deployed":
        assert entry["code"] == code


def test_what_is_about_no_model_has_a_chain_of_its_own(here: Installation) -> None:
    here.versions("digits", "1")
    anna = make(here, "anna", "caller")
    for method, path in (
        ("POST", "/models/nothing-there/promote"),
        ("POST", "/restart"),
        ("DELETE", "/routers/r1"),
        ("GET", "/models"),
    ):
        assert by(here, anna["secret"], method, path).status_code == 403
    assert by(here, anna["secret"], "POST", "/keys", json={}).status_code == 403
    actions = ["route.promote", "restart.begin", "router.forget", "read.models"]
    assert [each["action"] for each in chain(here, keys.INSTALLATION)] == actions
    assert [each["action"] for each in chain(here, keys.KEYRING)] == ["key.create", "key.create"]
    assert here.call(here.registry.redis.exists(keys.audit("nothing-there"))) == 0
    for name in ("keys", "installation"):
        assert verified(here, f"/audit/{name}/verify")["intact"]
        assert len(here.client.get(f"/audit/{name}").text.splitlines()) >= 2
    assert here.client.get("/audit/other").status_code == 404


def test_who_is_not_known_and_who_asks_for_nothing_leaves_no_entry(here: Installation) -> None:
    here.versions("digits", "1")
    before = len(chain(here))
    assert by(here, "wrong", "POST", "/models/digits/promote").status_code == 401
    assert here.client.get("/models/digits/nothing").status_code == 404
    assert here.client.post("/models/digits/nothing").status_code == 404
    assert here.client.get("/models/other").status_code == 404
    assert here.client.delete("/models/digits/promote").status_code == 405
    assert len(chain(here)) == before
    assert chain(here, keys.INSTALLATION) == []


def test_a_flood_of_refusals_is_counted_and_not_written(here: Installation) -> None:
    here.versions("digits", "1")
    anna = make(here, "anna", "viewer")
    before = len(chain(here))
    for _ in range(40):
        assert by(here, anna["secret"], "POST", "/models/digits/promote").status_code == 403
    assert len(chain(here)) == before + 10
    assert (
        here.post("/models/digits/promote", {"version": "9"}).status_code == 404
    )  # another one's is written
    assert len(chain(here)) == before + 11
    assert verified(here)["intact"]


def test_a_secret_in_a_path_is_not_written_down(here: Installation) -> None:
    anna = make(here, "anna", "viewer")
    assert by(here, anna["secret"], "POST", f"/keys/{anna['secret']}/revoke").status_code == 403
    assert anna["secret"].rpartition("_")[2] not in str(chain(here, keys.KEYRING))


@given(st.sampled_from(["GET", "POST", "DELETE"]), st.text(max_size=60))
def test_every_path_has_an_action(method: str, tail: str) -> None:
    action, model = named(method, f"/api/v1/{tail}")
    first, _, second = action.partition(".")
    assert first
    assert second
    assert model is None or len(model) <= 63


# -- verification ------------------------------------------------------------------------------------------


def test_an_installation_in_use_is_intact(here: Installation) -> None:
    busy(here)
    found = verified(here)
    assert (found["intact"], found["findings"], found["first_bad"]) == (True, [], None)
    assert found["entries"] == len(chain(here)) == found["head"]["seq"]
    folder = here.settings.data_dir / "audit"
    heads = [json.loads(line) for line in (folder / "heads.jsonl").read_text().splitlines()]
    assert [head["seq"] for head in heads if head["chain"] == "digits"] == list(
        range(1, len(chain(here)) + 1)
    )


def forge_route(client: redis.Redis) -> None:
    stored = orjson.loads(client.hget(keys.ROUTES, "digits"))
    client.hset(keys.ROUTES, "digits", orjson.dumps(stored | {"active": "3"}))


def forge_entry(client: redis.Redis) -> None:
    """An honest looking one more, with head, route, history and a signature by another key."""
    lines = client.lrange(keys.audit("digits"), 0, -1)
    entries = [orjson.loads(line) for line in lines]
    before = orjson.loads(client.hget(keys.ROUTES, "digits"))
    after = before | {"active": "3", "epoch": before["epoch"] + 50}
    last = entries[-1] | {"action": "route.promote", "outcome": "applied", "before": before, "after": after}
    line = rehashed([*entries, last], len(entries))[-1]
    new = orjson.loads(line)
    client.rpush(keys.audit("digits"), line)
    client.hset(keys.HEADS, "digits", f"{new['seq']} {new['hash']}")
    client.hset(keys.SIGNED, "digits", signed(FORGER, new["seq"], new["hash"], new["time"], "digits"))
    client.hset(keys.ROUTES, "digits", orjson.dumps(after))


def cut_end(client: redis.Redis) -> None:
    client.rpop(keys.audit("digits"), 2)
    last = orjson.loads(client.lindex(keys.audit("digits"), -1))
    client.hset(keys.HEADS, "digits", f"{last['seq']} {last['hash']}")


def forge_key(client: redis.Redis) -> None:
    client.hset(keys.KEYS, "zzzzzzzz", client.hget(keys.KEYS, client.hkeys(keys.KEYS)[0]))


DIRECT: list[tuple[str, Direct]] = [
    ("route", forge_route),
    ("route", lambda client: client.hdel(keys.ROUTES, "digits")),
    ("history", lambda client: client.lpop(keys.history("digits"))),
    ("history", lambda client: client.lset(keys.history("digits"), 0, b"{}")),
    ("version", lambda client: client.hset(keys.versions("digits"), "2", b'{"digest":"x"}')),
    ("version", lambda client: client.hdel(keys.versions("digits"), "1")),
    ("version", lambda client: client.hset(keys.versions("digits"), "7", b"no json")),
    ("deployment", lambda client: client.hset(keys.desired("digits"), "1", 5)),
    ("deployment", lambda client: client.hdel(keys.desired("digits"), "1")),
    ("head", lambda client: client.hset(keys.HEADS, "digits", "nonsense")),
    ("bad_head", lambda client: client.hset(keys.SIGNED, "digits", b"nonsense")),
    ("unknown_key", forge_entry),
    ("truncated", cut_end),
    ("truncated", lambda client: client.delete(keys.audit("digits"))),
    ("broken", lambda client: client.lset(keys.audit("digits"), 2, client.lindex(keys.audit("digits"), 3))),
]


@pytest.mark.parametrize(("kind", "direct"), DIRECT)
def test_a_direct_write_to_redis_is_found(here: Installation, kind: str, direct: Direct) -> None:
    busy(here)
    with redis.Redis.from_url(here.redis_url) as client:
        direct(client)
    found = verified(here)
    assert not found["intact"]
    assert kind in {each["kind"] for each in found["findings"]}


def test_a_key_made_directly_is_found(here: Installation) -> None:
    make(here, "anna", "viewer")
    assert verified(here, "/audit/keys/verify")["intact"]
    with redis.Redis.from_url(here.redis_url) as client:
        stored = orjson.loads(client.hvals(keys.KEYS)[0])
        forged = stored | {"id": "zzzzzzzz", "name": "mallory"}
        client.hset(keys.KEYS, "zzzzzzzz", orjson.dumps(forged))
        found = verified(here, "/audit/keys/verify")
        assert [each["kind"] for each in found["findings"]] == ["key"]
        client.hdel(keys.KEYS, "zzzzzzzz")
        client.hset(
            keys.KEYS, stored["id"], orjson.dumps(stored | {"grants": [{"role": "admin", "models": "*"}]})
        )
    assert [each["kind"] for each in verified(here, "/audit/keys/verify")["findings"]] == ["key"]


def test_an_older_state_of_everything_is_found(here: Installation) -> None:
    """All of Redis put back to how it once was: only the file outside tells."""
    here.versions("digits", "1", "2")
    here.post("/models/digits/promote", {"version": "1"})
    with redis.Redis.from_url(here.redis_url) as client:
        saved = {key: client.dump(key) for key in client.keys("{pm}:*")}
        length = len(chain(here))
        assert here.post("/models/digits/promote", {"version": "2"}).status_code in (200, 202)
        for key, value in saved.items():
            client.restore(key, 0, value, replace=True)
    found = verified(here)
    assert (found["first_bad"], [each["kind"] for each in found["findings"]]) == (length + 1, ["truncated"])


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(data=st.data())
def test_random_bytes_in_any_field_are_found(here: Installation, data: Any) -> None:
    """Of whatever is stored of a model, one byte is another; what was there is put back."""
    with redis.Redis.from_url(here.redis_url) as client:
        if not client.exists(keys.audit("digits")):
            busy(here)
        places: list[tuple[str, Any]] = [
            (key, index)
            for key in (keys.audit("digits"), keys.history("digits"))
            for index in range(client.llen(key))
        ]
        places += [(keys.versions("digits"), field) for field in client.hkeys(keys.versions("digits"))]
        places += [(keys.ROUTES, b"digits"), (keys.HEADS, b"digits"), (keys.SIGNED, b"digits")]
        key, at = data.draw(st.sampled_from(places))
        listed = isinstance(at, int)
        stored = client.lindex(key, at) if listed else client.hget(key, at)
        position = data.draw(st.integers(0, len(stored) - 1))
        byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != stored[position]))
        forged = stored[:position] + bytes([byte]) + stored[position + 1 :]
        write = client.lset if listed else client.hset
        write(key, at, forged)
        found = verified(here)
        write(key, at, stored)
    # Blanks and the like in JSON that is compared by its meaning mean nothing else.
    same = key in (keys.ROUTES, keys.history("digits"), keys.SIGNED) and meaning(forged) == meaning(stored)
    assert found["intact"] == same


def meaning(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return line


def test_what_is_signed_by_another_host_is_kept_here_if_it_is_trusted(here: Installation) -> None:
    here.versions("digits", "1")
    notary = here.registry.notary
    assert notary is not None
    end = chain(here)[-1]
    line = signed(FORGER, end["seq"] + 1, "0" * 64, end["time"], "digits")
    with redis.Redis.from_url(here.redis_url) as client:
        client.hset(keys.SIGNED, "digits", line)
        assert here.call(keep_heads(here.registry)) == 0
        folder = here.settings.data_dir / "audit" / "trusted"
        folder.mkdir()
        from router.audit import signing

        (folder / "other.pub").write_text(signing.pem(FORGER.public))
        assert here.call(keep_heads(here.registry)) == 1
        client.hdel(keys.SIGNED, "digits")
    assert line in notary.heads()
    assert [each["kind"] for each in verified(here)["findings"]] == ["truncated"]


def test_what_was_there_before_the_key_is_adopted_once(redis_url: str, tmp_path: Path) -> None:
    with Installation(redis_url, tmp_path / "a") as first:
        busy(first)
        first.call(first.registry.redis.delete(keys.SIGNED))
    with Installation(redis_url, tmp_path / "b") as second:
        notary = second.registry.notary
        assert notary is not None
        until(lambda: not notary.fresh)
        assert verified(second)["intact"]
        second.post("/models/digits/promote", {"version": "1"})
        assert verified(second)["intact"]


# -- export ------------------------------------------------------------------------------------------------


def export(here: Installation, folder: Path, **params: str) -> Path:
    answer = here.client.get("/models/digits/audit/export", params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        archive.extractall(folder)
    return folder


def alone(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`verify.py` without anything but Python."""
    return subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", str(folder / "verify.py"), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


NAMES = {
    *("MANIFEST.json", "chain.jsonl", "heads.jsonl", "pubkey.pem", "serving.csv", "approvals.jsonl"),
    *("overrides.csv", "erasures.csv", "verify.py", "README.txt"),
    *(f"versions/{version}.json" for version in "123"),
}


def test_the_folder_proves_itself(here: Installation, tmp_path: Path) -> None:
    busy(here)
    folder = export(here, tmp_path / "out")
    assert set(read_folder(folder)) == NAMES
    assert (folder / "evidence").is_dir()
    done = alone(folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(": intact\n")
    assert check_folder(read_folder(folder))[1] == []
    rows = (folder / "serving.csv").read_text().splitlines()
    assert rows[0] == "from,to,version,weight,digest,epoch,actor,reason"
    cells = [row.split(",") for row in rows[1:]]
    assert [(cell[2], cell[3]) for cell in cells] == [
        ("1", "100"),
        ("2", "100"),
        ("1", "10"),
        ("2", "90"),
        ("1", "100"),
    ]
    assert cells[0][4] == document("digits", "1")["digest"]
    assert cells[0][6:] == ["admin", "'=the first"]  # no formula for a spreadsheet
    assert cells[0][1] == cells[1][0]
    assert cells[-1][1] == ""
    assert (folder / "erasures.csv").read_text() == "seq,time,actor,action,object,reason,ticket\n"
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    assert set(manifest["files"]) == NAMES - {"MANIFEST.json"}


def test_a_signature_is_good_for_openssl_too(here: Installation, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl here")
    busy(here)
    folder = export(here, tmp_path / "out")
    assert alone(folder, "--statement", "3").returncode == 0
    words = ["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", "pubkey.pem"]
    words += ["-in", "3.statement", "-sigfile", "3.signature"]
    done = subprocess.run([openssl, *words], cwd=folder, capture_output=True, timeout=20, check=False)
    assert done.returncode == 0, done


def test_a_period(here: Installation, tmp_path: Path) -> None:
    busy(here)
    times = [each["time"] for each in chain(here) if each["action"].startswith("route.") and each["after"]]
    folder = export(here, tmp_path / "out", **{"from": times[1], "to": times[2]})
    cells = [row.split(",") for row in (folder / "serving.csv").read_text().splitlines()[1:]]
    assert [cell[0] for cell in cells] == [times[1], times[2], times[2]]
    assert alone(folder).returncode == 0
    within = here.client.get("/models/digits/audit", params={"from": times[1], "to": times[2]}).text
    assert [json.loads(line)["time"] for line in within.splitlines()] == times[1:3]
    assert here.client.get("/models/digits/audit", params={"from": "never"}).json()["field"] == "from"


def test_lines_are_the_stored_bytes(here: Installation) -> None:
    here.versions("digits", "1")
    answer = here.client.get("/models/digits/audit")
    stored = here.call(here.registry.redis.lrange(keys.audit("digits"), 0, -1))
    assert answer.content == b"".join(line + b"\n" for line in stored)
    assert answer.headers["content-type"] == "application/jsonl"
    assert here.client.get("/models/other/audit").json()["code"] == "unknown_model"


def altered(path: str, old: str, new: str) -> Callable[[Path], None]:
    def alter(folder: Path) -> None:
        text = (folder / path).read_text()
        assert old in text
        (folder / path).write_text(text.replace(old, new, 1))

    return alter


def shorter(*paths: str) -> Callable[[Path], None]:
    def alter(folder: Path) -> None:
        for path in paths:
            lines = (folder / path).read_text().splitlines(keepends=True)
            (folder / path).write_text("".join(lines[:-1]))

    return alter


@pytest.mark.parametrize(
    ("seq", "alter"),
    [
        (7, altered("chain.jsonl", '"reason":"=the first"', '"reason":"another"')),
        (12, shorter("chain.jsonl")),
        (12, shorter("heads.jsonl")),
        (None, altered("serving.csv", "admin", "nobody")),
        (None, altered("erasures.csv", "seq", "sec")),
        (1, altered("versions/1.json", "0.9", "1.0")),
        (None, altered("README.txt", "audit", "udit")),
        (None, lambda folder: (folder / "evidence" / "more.txt").write_text("x")),
        (1, lambda folder: (folder / "versions" / "1.json").unlink()),
    ],
)
def test_a_folder_that_was_altered(
    here: Installation, tmp_path: Path, seq: int | None, alter: Callable[[Path], None]
) -> None:
    busy(here)
    folder = export(here, tmp_path / "out")
    alter(folder)
    _, found = check_folder(read_folder(folder))
    assert found
    assert found[0].seq == seq
    done = alone(folder)
    assert done.returncode == 1
    assert seq is None or f"seq {seq}:" in done.stdout


def test_the_change_is_signed_on_disk_before_its_answer(here: Installation) -> None:
    here.versions("digits", "1", "2")
    path = here.settings.data_dir / "audit" / "heads.jsonl"
    for version in ("1", "2", "1"):
        assert here.post("/models/digits/promote", {"version": version}).status_code in (200, 202)
        head = chain(here)[-1]
        assert f'"hash":"{head["hash"]}"' in path.read_text()
    assert here.registry.notary is not None
    assert here.registry.notary._synced == here.registry.notary._written
    assert TESTER.name == chain(here)[0]["actor"]
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_what_a_restore_writes_back_is_what_the_chain_says(redis_url: str, tmp_path: Path) -> None:
    """A Redis that lost everything, and a host that has no signed heads of before."""
    with Installation(redis_url, tmp_path, ack_timeout_ms=400) as here:
        here.versions("digits", "1", "2")
        for version in ("1", "2"):
            here.post("/models/digits/promote", {"version": version})
        route = msgspec.convert(here.client.get("/models/digits").json()["route"], Route, strict=False)
        last_good(here, route, "1", "2")
        here.call(here.registry.redis.flushall())
    shutil.rmtree(tmp_path / "audit")
    with Installation(redis_url, tmp_path, ack_timeout_ms=400) as here:
        assert here.post("/registry/restore").status_code == 200
        assert chain(here)[-1]["restored"] == {"versions": ["1", "2"], "deployed": {"1": 1, "2": 1}}
        assert verified(here)["intact"]
        here.call(here.registry.redis.hdel(keys.desired("digits"), "2"))
        here.call(here.registry.redis.hset(keys.versions("digits"), "3", b"{}"))
        assert {each["kind"] for each in verified(here)["findings"]} == {"deployment", "version"}
