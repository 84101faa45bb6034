"""Known heads of answers: told only by the same bytes, and only where the length frames the answer."""

from __future__ import annotations

import pytest

from router.upstream.heads import KEPT, LONGEST, Heads

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: 1"
HEADERS = [(b"content-length", b"2"), (b"x-a", b"1")]


def learned(data: bytes, headers: list[tuple[bytes, bytes]]) -> Heads:
    heads = Heads()
    heads.learn(data, 200, headers)
    return heads


def test_the_same_bytes_mean_the_same_whatever_the_body() -> None:
    heads = learned(HEAD + b"\r\n\r\nab", HEADERS)
    found = heads.find(HEAD + b"\r\n\r\ncd")
    assert found is not None
    head, begin = found
    assert (head.status, head.headers, head.length, begin) == (200, HEADERS, 2, len(HEAD) + 4)


@pytest.mark.parametrize(
    "data",
    [b"", HEAD, HEAD + b"\r\n\r\nc", HEAD + b"\r\n\r\ncde", HEAD.replace(b"200", b"500") + b"\r\n\r\ncd"],
)
def test_anything_else_is_left_to_the_parser(data: bytes) -> None:
    assert learned(HEAD + b"\r\n\r\nab", HEADERS).find(data) is None


@pytest.mark.parametrize(
    ("data", "headers"),
    [
        (HEAD + b"\r\n\r\n2\r\nab\r\n0\r\n\r\n", [(b"transfer-encoding", b"chunked")]),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"\r\n\r\nab", HEADERS),
        (b"HTTP/1.1 304 No\r\ncontent-length: 7\r\n\r\n", [(b"content-length", b"7")]),
        (b"x" * (LONGEST + 1) + b"\r\n\r\n12345", [(b"content-length", b"5")]),
    ],
)
def test_what_its_length_does_not_frame_is_not_learned(
    data: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    assert learned(data, headers).find(data) is None


def test_no_more_are_kept_than_the_limit() -> None:
    heads = Heads()
    for number in range(3 * KEPT):
        heads.learn(b"%d\r\n\r\nab" % number, 200, HEADERS)
        assert len(heads._known) <= KEPT
    assert heads.find(b"%d\r\n\r\nab" % (3 * KEPT - 1)) is not None
