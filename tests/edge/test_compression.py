"""Content codings: what comes in within its limits, what goes out where it is taken."""

import asyncio
import gzip
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.edge.answer import Answer
from router.edge.compression import FREE, RATIO, SMALLEST, accepted, compress, received
from router.edge.inbound import Inbound
from router.errors import BadInput, TooLarge

LIMIT = 32 << 20


def bare(data: bytes) -> bytes:
    """Deflate without zlib's head."""
    engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return engine.compress(data) + engine.flush()


Code = Callable[[bytes], bytes]
CODINGS: dict[str, Code] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZIP ": gzip.compress,
    "identity": bytes,
    "": bytes,
}
DEFLATES: dict[str, Code] = {"zlib": zlib.compress, "bare": bare}


def inflated(body: bytes, coding: str, limit: int = LIMIT) -> bytes:
    """A body as the gateway reads it."""
    inbound = Inbound({b"content-encoding": coding.encode()}, "r")
    return asyncio.run(received(inbound, body, limit))


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("data", [b"", b"{}", b"ab" * 100_000])
def test_codings(coding: str, data: bytes) -> None:
    assert inflated(CODINGS[coding](data), coding) == data


@given(st.binary(max_size=2000), st.sampled_from(list(DEFLATES)))
def test_deflate_with_and_without_its_head(data: bytes, form: str) -> None:
    assert inflated(DEFLATES[form](data), "deflate") == data


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (b"{}", "br"),
        (b"{}", "gzip, gzip"),
        (b"{}", "gzip"),
        (b"", "gzip"),
        (b"", "deflate"),
        (b"\x78\x9c\xff\xff", "deflate"),
        (gzip.compress(b"{}" * 100)[:-3], "gzip"),
        (gzip.compress(b"{}") + b"!", "gzip"),
        (gzip.compress(b"{}") * 2, "gzip"),
        (gzip.compress(b"{}")[:-4] + b"\0\0\0\0", "gzip"),
    ],
)
def test_what_is_broken_is_refused(body: bytes, coding: str) -> None:
    with pytest.raises(BadInput) as caught:
        inflated(body, coding)
    assert (caught.value.code, caught.value.field) == ("bad_encoding", "content-encoding")


def test_the_limit_is_that_of_the_inflated_body() -> None:
    data = bytes(range(256)) * 40
    assert inflated(gzip.compress(data), "gzip", len(data)) == data
    with pytest.raises(TooLarge):
        inflated(gzip.compress(data), "gzip", len(data) - 1)


def test_a_bomb_is_not_unpacked() -> None:
    body = gzip.compress(bytes(24 << 20))
    assert len(body) * RATIO < 24 << 20
    with pytest.raises(TooLarge, match="inflates"):
        inflated(body, "gzip")
    assert len(inflated(gzip.compress(bytes(FREE)), "gzip")) == FREE


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        (None, None),
        (b"", None),
        (b"br", None),
        (b"identity", None),
        (b"gzip", "gzip"),
        (b"deflate", "deflate"),
        (b"deflate, GZIP;q=0.5", "gzip"),
        (b"gzip;q=0, deflate", "deflate"),
        (b"gzip; q=0.000", None),
        (b"*", "gzip"),
        (b"gzip;q=0, *", "deflate"),
        (b"*;q=0", None),
        (b";;,,q=", None),
    ],
)
def test_what_a_caller_takes(header: bytes | None, coding: str | None) -> None:
    assert accepted(header) == coding


@pytest.mark.parametrize("size", [SMALLEST - 1, SMALLEST, 100_000])
@pytest.mark.parametrize("coding", ["gzip", "deflate", None])
def test_answers(size: int, coding: str | None) -> None:
    inbound = Inbound({} if coding is None else {b"accept-encoding": coding.encode()}, "r")
    answer = Answer(200, b"a" * size)
    asyncio.run(compress(inbound, answer))
    headers = dict(answer.headers)
    if coding is None or size < SMALLEST:
        assert answer.body == b"a" * size
        assert b"content-encoding" not in headers
    else:
        assert headers[b"content-encoding"] == coding.encode()
        assert (gzip if coding == "gzip" else zlib).decompress(answer.body) == b"a" * size
    assert (b"vary" in headers) == (size >= SMALLEST)
