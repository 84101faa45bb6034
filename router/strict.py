"""What is wrong with a head that the parser lets pass: who it is for, how it is framed, which HTTP; pure."""

from __future__ import annotations

import re

# Neither a path nor a second host may hide in it: frameworks make URLs of it.
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:\[\]%-]*\Z")
_VERSIONS = ("1.1", "1.0")


def fault(version: str, method: bytes, headers: list[tuple[bytes, bytes]]) -> str | None:
    """Why a request is refused, or None (RFC 9112, 3.2 and 6.1); `headers` have their names in lower case."""
    if version not in _VERSIONS:
        return f"HTTP/{version} is not spoken here, HTTP/1.1 is"
    if method == b"CONNECT":
        return "CONNECT is not spoken here"
    hosts = codings = 0
    for name, value in headers:
        if name == b"host":
            hosts += 1
            if _HOST.match(value) is None:
                return "the Host header is none"
        elif name == b"transfer-encoding":
            codings += 1
            if value.lower() != b"chunked":
                return "the only transfer-encoding is chunked"
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        return "a request has one Host header"
    if codings > 1 or (codings and version == "1.0"):
        return "the framing of the body is in doubt"
    return None
