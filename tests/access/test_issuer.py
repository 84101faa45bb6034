"""Where an issuer's keys come from: files, addresses, and both when they fail; a real server on loopback."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from router.access import jwks
from router.access.issuer import Issuer
from router.errors import Unauthorized
from router.settings import Settings
from tests.access.issuing import AUDIENCE, ISSUER, Issuing

HERE = Issuing()


class Served(BaseHTTPRequestHandler):
    """Answers with what the test says."""

    body = b""
    code = 200
    asked = 0

    def do_GET(self) -> None:
        """One answer."""
        Served.asked += 1
        self.send_response(Served.code)
        if Served.code == 302:
            self.send_header("location", "/elsewhere")
        self.send_header("content-length", str(len(Served.body)))
        self.end_headers()
        self.wfile.write(Served.body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture(name="address")
def fixture_address() -> Iterator[str]:
    """The address of a JWKS document."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Served)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    Served.body, Served.code, Served.asked = HERE.jwks(), 200, 0
    yield f"http://127.0.0.1:{server.server_port}/jwks"
    server.shutdown()
    thread.join()
    server.server_close()


def issuer(place: str, folder: Path, **others: Any) -> Issuer:
    """As the settings name it."""
    named = {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_jwks": place} | others
    return Issuer.of(Settings(data_dir=folder, **named))


def counts(made: Issuer, token: str) -> bool:
    """Whether a token counts by the keys known now."""
    tokens = made.rules().tokens
    assert tokens is not None
    try:
        tokens.principal(token, time.time())
    except Unauthorized:
        return False
    return True


def test_keys_of_a_file_are_read_again(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    made = issuer(str(path), tmp_path)
    assert not asyncio.run(made.refresh())
    path.write_bytes(HERE.jwks("rsa"))
    assert asyncio.run(made.refresh())
    assert not counts(made, HERE.token())
    path.write_bytes(HERE.jwks("ec"))
    assert asyncio.run(made.refresh())
    assert counts(made, HERE.token())
    path.write_bytes(b"broken")
    assert not asyncio.run(made.refresh())
    assert counts(made, HERE.token()), "what was known goes on"


def test_keys_of_an_address(address: str, tmp_path: Path) -> None:
    made = issuer(address, tmp_path)
    assert not counts(made, HERE.token())
    assert asyncio.run(made.refresh())
    assert counts(made, HERE.token())


@pytest.mark.parametrize(("code", "body"), [(500, b"{}"), (302, b""), (200, b"x" * (300 << 10)), (200, b"{")])
def test_an_address_that_gives_no_keys(address: str, tmp_path: Path, code: int, body: bytes) -> None:
    made = issuer(address, tmp_path)
    asyncio.run(made.refresh())
    Served.code, Served.body, Served.asked = code, body, 0
    assert not asyncio.run(made.refresh())
    assert Served.asked == 1, "no redirect is followed"
    assert counts(made, HERE.token())


def test_a_token_with_a_new_key_has_it_fetched_in_the_background(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.access.issuer.SOONEST_S", 0.05)
    monkeypatch.setattr("router.access.issuer.LOOK_S", 0.01)
    Served.body = HERE.jwks("rsa")
    made = issuer(address, tmp_path)

    async def story() -> None:
        following = asyncio.create_task(made.follow())
        async with asyncio.timeout(10):
            while not counts(made, HERE.token("RS256", "rsa")):
                await asyncio.sleep(0.01)
            asked = Served.asked
            Served.body = HERE.jwks()
            assert not counts(made, HERE.token())
            while not counts(made, HERE.token()):
                await asyncio.sleep(0.01)
            assert Served.asked <= asked + 3
        following.cancel()
        await asyncio.wait({following})

    asyncio.run(story())


@pytest.mark.parametrize(
    "place", ["http://issuer.test/jwks", "ftp://issuer.test/x", "https://", "file:///etc/passwd"]
)
def test_an_address_that_others_could_answer_for_is_refused(place: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="https"):
        issuer(place, tmp_path)
    jwks.check("https://issuer.test/jwks")


def test_an_issuer_is_named_whole_or_not_at_all(tmp_path: Path) -> None:
    for missing in ("jwt_issuer", "jwt_audience", "jwt_jwks"):
        with pytest.raises(ValueError, match="belong together"):
            issuer("jwks.json", tmp_path, **{missing: None})
    assert Issuer.of(Settings(data_dir=tmp_path)).rules().tokens is None
