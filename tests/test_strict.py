"""What a head may not be, beyond what the parser refuses by itself."""

import pytest

from router.strict import fault

HOST = (b"host", b"a.test:8000")


@pytest.mark.parametrize(
    ("version", "method", "headers"),
    [
        ("1.1", b"GET", [HOST]),
        ("1.1", b"GET", [(b"host", b"")]),
        ("1.1", b"GET", [(b"host", b"[::1]:8000")]),
        ("1.1", b"GET", [(b"host", b"xn--bcher-kva.example")]),
        ("1.0", b"GET", []),
        ("1.0", b"GET", [HOST]),
        ("1.1", b"POST", [HOST, (b"transfer-encoding", b"Chunked")]),
        ("1.1", b"POST", [HOST, (b"content-length", b"3")]),
    ],
)
def test_what_is_in_order_passes(version: str, method: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    assert fault(version, method, headers) is None


@pytest.mark.parametrize(
    ("version", "method", "headers", "told"),
    [
        ("0.9", b"GET", [], "HTTP/0.9"),
        ("2.0", b"GET", [HOST], "HTTP/2.0"),
        ("1.1", b"CONNECT", [HOST], "CONNECT"),
        ("1.1", b"GET", [], "Host"),
        ("1.1", b"GET", [HOST, HOST], "Host"),
        ("1.0", b"GET", [HOST, HOST], "Host"),
        *(
            ("1.1", b"GET", [(b"host", text)], "Host")
            for text in (b"a/b", b"a b", b"a@b", b"a?b", b"a#b", b"a\\b", b"a\xff", b"a,b/", b'a"', b"a\n")
        ),
        ("1.1", b"POST", [HOST, (b"transfer-encoding", b"gzip, chunked")], "transfer-encoding"),
        ("1.1", b"POST", [HOST, (b"transfer-encoding", b"")], "transfer-encoding"),
        ("1.1", b"POST", [HOST, *[(b"transfer-encoding", b"chunked")] * 2], "framing"),
        ("1.0", b"POST", [HOST, (b"transfer-encoding", b"chunked")], "framing"),
    ],
)
def test_what_is_in_doubt_is_named(
    version: str, method: bytes, headers: list[tuple[bytes, bytes]], told: str
) -> None:
    found = fault(version, method, headers)
    assert found is not None
    assert told in found
