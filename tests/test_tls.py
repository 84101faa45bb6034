"""Certificates of listeners and whom clients trust, by handshakes in memory; made by the openssl program."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from router.tls import Certificate, certificate
from router.trust import TlsUnusable, knowing, trusting
from tests.contract.certificates import Pair, self_signed, signed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the certificates are."""
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Pair:
    """Vouches for others."""
    return self_signed(folder, "authority", "DNS:authority")


def agreed(client: ssl.SSLContext, server: ssl.SSLContext, name: str = "here.test") -> bool:
    """Whether a handshake succeeds, for a client that asks for `name`."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server, server_hostname=name)
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    done = set()
    for _ in range(10):
        for side in (asking, answering):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                return False
    return len(done) == 2


def test_a_known_certificate_is_taken_whatever_its_names_and_no_other_is(
    folder: Path, authority: Pair
) -> None:
    """Not even one of the same authority, although the file holds the authority too."""
    mine = signed(folder, "mine", authority, "DNS:mine.test")
    yours = signed(folder, "yours", authority, "DNS:here.test")
    chain = folder / "chain.pem"
    chain.write_bytes(mine.cert.read_bytes() + authority.cert.read_bytes())
    for cert in (mine.cert, chain):
        assert agreed(knowing(cert), Certificate(cert, mine.key).context)
        assert not agreed(knowing(cert), Certificate(yours.cert, yours.key).context)


def test_elsewhere_the_authority_and_the_name_must_be_right(folder: Path, authority: Pair) -> None:
    here = signed(folder, "here", authority, "DNS:here.test")
    served = Certificate(here.cert, here.key).context
    assert agreed(trusting(authority.cert), served)
    assert not agreed(trusting(authority.cert), served, "there.test")
    assert not agreed(trusting(None), served)


def put(path: Path, content: bytes) -> None:
    """Another file in its place."""
    draft = path.with_suffix(".draft")
    draft.write_bytes(content)
    os.replace(draft, path)


def test_changed_files_are_taken_up_once_they_fit(folder: Path, tmp_path: Path) -> None:
    first, second = (self_signed(folder, name, "DNS:here.test") for name in ("first", "second"))
    cert, key = tmp_path / "cert.pem", tmp_path / "cert.key"
    put(cert, first.cert.read_bytes())
    put(key, first.key.read_bytes())
    served = Certificate(cert, key)
    with capture_logs() as logs:
        served.refresh()
        put(key, second.key.read_bytes())  # half of the change: the pair does not fit
        served.refresh()
        served.refresh()
        assert agreed(knowing(first.cert), served.context)
        cert.unlink()
        served.refresh()
        assert agreed(knowing(first.cert), served.context)
        put(cert, second.cert.read_bytes())
        served.refresh()
    assert agreed(knowing(second.cert), served.context)
    assert not agreed(knowing(first.cert), served.context)
    assert [each["event"] for each in logs] == [
        "certificate_not_read",
        "certificate_not_read",
        "certificate_read",
    ]


def test_files_that_cannot_be_used_are_named(folder: Path, authority: Pair, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nnone")
    nowhere = tmp_path / "nowhere.pem"
    for cert, key, told in (
        (authority.cert, nowhere, nowhere),
        (nowhere, authority.key, nowhere),
        (broken, authority.key, broken),
        (authority.key, authority.cert, authority.key),
    ):
        with pytest.raises(TlsUnusable, match=str(told)):
            Certificate(cert, key)
    for path in (broken, nowhere, authority.key):
        with pytest.raises(TlsUnusable, match=str(path)):
            knowing(path)
        with pytest.raises(TlsUnusable, match=str(path)):
            trusting(path)


def test_one_of_two_is_none(authority: Pair) -> None:
    assert certificate(None, None) is None
    for given in ((authority.cert, None), (None, authority.key)):
        with pytest.raises(TlsUnusable, match="belong together"):
            certificate(*given)
