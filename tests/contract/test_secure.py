"""TLS on both listeners, with certificates made here: every way in works, the old and the unknown do not."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson
import psutil
import pytest

from loadtests.fleet import BIN, Fleet
from router.trust import knowing, trusting
from tests.contract import toys
from tests.contract.asking import refused, until
from tests.contract.certificates import Pair, self_signed, signed
from tests.contract.wire import Wire, post

PATH = "/v1/models/plain:predict"
GOOD = b'{"instances": [[1, 2, 3]]}'


class SecureFleet(Fleet):
    """One that serves HTTPS; asked as its own command line asks it."""

    def __init__(self, pair: Pair) -> None:
        env = {"POINTSMAN_TLS_CERT": str(pair.cert), "POINTSMAN_TLS_KEY": str(pair.key)}
        super().__init__(routers=1, env=env)
        self._trust = knowing(pair.cert)
        self.control = httpx.Client(
            base_url=f"https://127.0.0.1:{self.control_port}/api/v1", timeout=70, verify=self._trust
        )

    def ready(self) -> bool:
        """Whether the data listener says so."""
        try:
            return httpx.get(f"{self.data}/readyz", timeout=2, verify=self._trust).status_code == 200
        except httpx.HTTPError:
            return False

    @property
    def data(self) -> str:
        """The data listener's address."""
        return f"https://127.0.0.1:{self.port}"


class SecureWire(Wire):
    """A raw connection inside TLS."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        super().__init__(port)
        self._socket = context.wrap_socket(self._socket)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the certificates are."""
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def pair(folder: Path) -> Pair:
    """The certificate in use; one that names another host than the one that is asked."""
    return self_signed(folder, "served", "DNS:pointsman.test")


@pytest.fixture(scope="module")
def secure(pair: Pair) -> Iterator[SecureFleet]:
    """One router, and `plain`, which goes by the command line and the control listener."""
    made = SecureFleet(pair)
    try:
        made.start(ready_s=15)
        toys.release(made, "plain", toys.identity())
        yield made
    finally:
        made.remove()


@pytest.fixture
def trust(pair: Pair) -> ssl.SSLContext:
    """A client's context for it."""
    return knowing(pair.cert)


def rows(count: int) -> bytes:
    """A request of so many rows."""
    return orjson.dumps({"instances": [[n, n + 0.5, n + 0.25] for n in range(count)]})


def test_every_way_in_is_served(secure: SecureFleet, trust: ssl.SSLContext) -> None:
    """Known heads, unknown ones, pieces, pipelines, bodies too large for the short way, and pass-through."""
    with SecureWire(secure.port, trust) as wire:
        for n in range(4):
            wire.send(post(PATH, orjson.dumps({"instances": [[n, n, n]]})))
            assert wire.reply().json() == {"predictions": [[float(n)] * 3]}
        wire.send(post(PATH, GOOD, "x-request-id: a") + post(PATH, GOOD, "x-request-id: b"))
        assert [wire.reply().headers["x-request-id"] for _ in range(2)] == ["a", "b"]
        request = post(PATH, GOOD, "x-request-id: pieces")
        for piece in (request[:30], request[30:-3], request[-3:]):
            wire.send(piece)
        assert wire.reply().headers["x-request-id"] == "pieces"
        large = rows(20_000)
        wire.send(post(PATH, large))
        reply = wire.reply()
        assert (reply.status, len(reply.json()["predictions"])) == (200, 20_000)
        wire.send(b"POST %b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" % PATH.encode())
        wire.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD))
        assert wire.reply().status == 200
        wire.send(b"GET /models/plain/schema.json HTTP/1.1\r\nhost: x\r\n\r\n" * 3)
        assert [wire.reply().status for _ in range(3)] == [200] * 3
        wire.send(post("/models/plain/nowhere", b" " * (100 << 10)))
        assert wire.reply().status == 404


def test_a_broken_request_is_refused_and_the_connection_closed(
    secure: SecureFleet, trust: ssl.SSLContext
) -> None:
    for port in (secure.port, secure.control_port):
        with SecureWire(port, trust) as wire:
            wire.send(b"GET /livez HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n")
            refused(wire.reply(), 400, "bad_http")
            assert wire.ended()


def test_the_control_listener_speaks_tls_only(secure: SecureFleet) -> None:
    assert secure.ask("GET", "/models")["models"]
    for port in (secure.port, secure.control_port):
        with Wire(port) as wire:
            wire.send(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
            assert wire.ended(), "an answer without TLS"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken(
    secure: SecureFleet, trust: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    trust.minimum_version = trust.maximum_version = version
    trust.set_alpn_protocols(["h2", "http/1.1"])
    for port in (secure.port, secure.control_port):
        with socket.create_connection(("127.0.0.1", port), 5) as raw, trust.wrap_socket(raw) as found:
            assert found.version() == version.name.replace("_", ".").replace("TLSv1.", "TLSv1.")
            assert found.selected_alpn_protocol() == "http/1.1"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_tls_1_1_is_not(secure: SecureFleet, trust: ssl.SSLContext) -> None:
    trust.set_ciphers("ALL:@SECLEVEL=0")
    trust.minimum_version = trust.maximum_version = ssl.TLSVersion.TLSv1_1
    for port in (secure.port, secure.control_port):
        with socket.create_connection(("127.0.0.1", port), 5) as raw, pytest.raises((ssl.SSLError, OSError)):
            trust.wrap_socket(raw)


def test_the_command_line_of_this_machine_knows_the_certificate(secure: SecureFleet, folder: Path) -> None:
    done = secure.cli("status", "--json")
    assert done.returncode == 0, done.stderr
    assert secure.log.read_text().count("https://127.0.0.1") >= 3


def test_the_command_line_takes_no_other_certificate(secure: SecureFleet, folder: Path) -> None:
    """Without the note it takes only what somebody vouches for."""
    other = self_signed(folder, "other", "IP:127.0.0.1")
    key = (secure.data_dir / "admin.key").read_text().strip()
    url = f"https://127.0.0.1:{secure.control_port}"
    for extra in ({}, {"POINTSMAN_CA": str(other.cert)}):
        env = {**secure.env, "POINTSMAN_URL": url, "POINTSMAN_KEY": key, **extra}
        done = command(env)
        assert done.returncode == 1
        assert "certificate verify failed" in done.stderr
    done = command({**secure.env, "POINTSMAN_CA": str(folder / "nowhere.pem")})
    assert done.returncode == 1
    assert "nowhere.pem" in done.stderr


def test_the_command_line_elsewhere_takes_what_an_authority_vouches_for(
    secure: SecureFleet, pair: Pair, folder: Path
) -> None:
    """And the listeners take up new files without a restart, but none that cannot be used."""
    authority = self_signed(folder, "authority", "DNS:authority")
    fresh = signed(folder, "fresh", authority, "IP:127.0.0.1", "DNS:localhost")
    old = Pair(folder / "old.pem", folder / "old.key")
    for here, kept in zip(pair, old, strict=True):
        kept.write_bytes(here.read_bytes())
    key = (secure.data_dir / "admin.key").read_text().strip()
    env = {
        **secure.env,
        "POINTSMAN_URL": f"https://localhost:{secure.control_port}",
        "POINTSMAN_KEY": key,
        "POINTSMAN_CA": str(authority.cert),
    }
    assert command(env).returncode == 1
    running = secure.status()
    with SecureWire(secure.port, knowing(old.cert)) as before:
        before.send(post(PATH, GOOD))
        assert before.reply().status == 200
        replace(pair.cert, b"-----BEGIN CERTIFICATE-----\nhalf")
        until(lambda: (secure.data_dir / "logs/control.log").read_text().count("certificate_not_read"), 6)
        until(lambda: (secure.data_dir / "logs/router-0.log").read_text().count("certificate_not_read"), 6)
        assert served(secure.port, knowing(old.cert))  # the old one goes on
        replace(pair.key, fresh.key.read_bytes())
        replace(pair.cert, fresh.cert.read_bytes())
        for port in (secure.port, secure.control_port):
            until(lambda port=port: served(port, trusting(authority.cert)), 6)  # type: ignore[misc]
            assert not served(port, knowing(old.cert))
        before.send(post(PATH, GOOD))  # a connection that was open stays
        assert before.reply().status == 200
    done = command(env)
    assert done.returncode == 0, done.stderr
    done = secure.cli("status")
    assert done.returncode == 0, done.stderr
    with httpx.Client(verify=trusting(authority.cert)) as client:
        assert client.get(f"https://localhost:{secure.port}/livez").status_code == 200
        key_header = {"authorization": f"Bearer {key}"}
        after = client.get(
            f"https://localhost:{secure.control_port}/api/v1/status", headers=key_header
        ).json()
    assert [each["pid"] for each in after["routers"]] == [each["pid"] for each in running["routers"]]


@pytest.mark.parametrize(
    "options",
    [
        ("--tls-cert", "other.pem"),
        ("--tls-key", "other.key"),
        ("--tls-cert", "other.pem", "--tls-key", "nowhere.key"),
        ("--tls-cert", "other.key", "--tls-key", "other.pem"),
        ("--tls-cert", "other.pem", "--tls-key", "locked.key"),
    ],
)
def test_up_does_not_start_with_files_that_cannot_be_used(folder: Path, options: tuple[str, ...]) -> None:
    pair = self_signed(folder, "other", "DNS:other")
    locked = ["-in", str(pair.key), "-aes256", "-passout", "pass:secret", "-out", str(folder / "locked.key")]
    subprocess.run(["openssl", "ec", *locked], check=True, capture_output=True)
    words = [each if each.startswith("-") else str(folder / each) for each in options]
    done = subprocess.run(
        [str(BIN / "pointsman"), "up", "--data-dir", str(folder / "data"), *words],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 1
    assert "tls_" in done.stderr or str(folder) in done.stderr
    assert not (folder / "data").exists()


def test_both_listeners_are_on_loopback_unless_told_otherwise(secure: SecureFleet) -> None:
    assert secure.process is not None
    up = psutil.Process(secure.process.pid)
    found = {
        each.laddr
        for process in (up, *up.children(recursive=True))
        for each in process.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
    }
    assert {address.port for address in found} == {secure.port, secure.control_port}
    assert {address.ip for address in found} == {"127.0.0.1"}


def command(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`pointsman status` in an environment."""
    words = [str(BIN / "pointsman"), "status"]
    return subprocess.run(words, env=env, capture_output=True, text=True, timeout=30, check=False)


def served(port: int, context: ssl.SSLContext) -> bool:
    """Whether a client with this trust gets through."""
    try:
        with httpx.Client(verify=context, timeout=5) as client:
            return client.get(f"https://127.0.0.1:{port}/livez").status_code == 200
    except httpx.TransportError:
        return False


def replace(path: Path, content: bytes) -> None:
    """As a tool that renews certificates does: another file in its place."""
    draft = path.with_suffix(f".{time.monotonic_ns()}")
    draft.write_bytes(content)
    os.replace(draft, path)
