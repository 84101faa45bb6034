"""Headers and paths that travel on: what leaves is one head, without what must end here, in its model."""

from __future__ import annotations

import urllib.parse

import httptools

from router.edge.hygiene import FORWARDED, FRAMING, HOP, OURS, Headers, moved, to_caller
from router.edge.pass_head import PassHead, small_pass
from router.edge.paths import INTERNAL, passed
from router.errors import NotFound

LARGEST = 64 << 10


class Requests:
    """What httptools reads in a caller's bytes, the whole of them."""

    def __init__(self, data: bytes) -> None:
        self.found: list[tuple[bytes, bytes, Headers, bool]] = []
        self._url, self._headers = b"", Headers()
        self.parser = httptools.HttpRequestParser(self)
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return

    def on_message_begin(self) -> None:
        self._url, self._headers = b"", []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser = self.parser
        self.found.append((parser.get_method(), self._url, self._headers, parser.should_keep_alive()))


def check(data: bytes) -> None:
    """As a caller's request, as a replica's answer headers, and as a path."""
    for method, url, headers, keep_alive in Requests(data).found:
        _back(headers)
        head = small_pass(method, url, list(headers), keep_alive, LARGEST)
        if head is not None:
            _onward(head, headers)
    _path(data[:2048])
    _moved(data)


def _onward(head: PassHead, sent: Headers) -> None:
    """The replica reads exactly one request there, with nothing that had to end here."""
    [(method, url, headers, _)] = Requests(head.start + b"\r\n" + b"x" * head.length).found
    assert (method, url) == (head.method, head.route.raw_path + _query(head.url))
    names = [name for name, _ in headers]
    assert not set(names) & (HOP | OURS | FORWARDED), names
    named = {
        token.strip().lower() for name, value in sent if name == b"connection" for token in value.split(b",")
    }
    assert not set(names) & (named - FRAMING), names
    assert all(b"pickle" not in value.lower() for name, value in headers if name == b"content-type")
    lengths = [value for name, value in headers if name == b"content-length"]
    assert lengths in ([], [b"%d" % head.length]) or [int(v) for v in lengths] == [head.length]
    assert INTERNAL not in urllib.parse.unquote(url.decode()).split("/")


def _query(url: bytes) -> bytes:
    _, mark, query = url.partition(b"?")
    return mark + query if query else b""


def _back(headers: Headers) -> None:
    found = to_caller(headers, prefix="/models/m", host=b"here:8000")
    assert not {name for name, _ in found} & (HOP | OURS | {b"date", b"server"})
    assert len(found) <= len(headers)


def _path(data: bytes) -> None:
    raw = b"/models/" + data
    if not raw.isascii():
        return
    try:
        route = passed(urllib.parse.unquote(raw.decode("ascii")), raw)
    except NotFound:
        return
    assert (route.prefix.encode() + route.raw_path).rstrip(b"/") == raw.rstrip(b"/")
    assert route.raw_path.startswith(b"/")


def _moved(data: bytes) -> None:
    location, _, host = data[:4096].partition(b"\n")
    found = moved(location, b"/models/m", host)
    assert found == location or found.endswith(location) or (host and host in found)
