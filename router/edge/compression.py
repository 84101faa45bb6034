"""Content codings of tensor bodies: gzip and deflate, in within limits, out where the caller takes them."""

from __future__ import annotations

import asyncio
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from router.edge.answer import Answer
from router.edge.inbound import Inbound
from router.errors import BadInput, TooLarge

Coding = Literal["gzip", "deflate"]

SMALLEST = 1024  # bytes of an answer that is worth a coding
LEVEL = 1  # tensors hardly shrink more at higher ones
FREE, RATIO = 4 << 20, 256  # a body may inflate to 4 MiB whatever it is, beyond that to 256 times its size
INLINE_IN, INLINE_OUT = 4 << 10, 16 << 10  # larger ones are coded off the loop; zlib lets go of the GIL

# One thread: each keeps an arena of the allocator as large as the largest bodies it ever held.
_worker = ThreadPoolExecutor(1, thread_name_prefix="coding")
_GZIP, _ZLIB, _RAW = zlib.MAX_WBITS | 16, zlib.MAX_WBITS, -zlib.MAX_WBITS


async def received(inbound: Inbound, body: bytes, limit: int) -> bytes:
    """The body without its content coding, at most `limit` bytes.

    Raises BadInput `bad_encoding` for an unknown coding or broken data, TooLarge where it inflates too far.
    """
    named = inbound.headers.get(b"content-encoding")
    if named is None:
        return body
    coding = named.strip().lower().decode("latin-1")
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise BadInput(
            f"content-encoding {coding[:80]!r} is not understood: gzip and deflate are",
            code="bad_encoding",
            field="content-encoding",
        )
    most = min(limit, max(FREE, RATIO * len(body)))
    wbits = _GZIP if coding != "deflate" else _ZLIB if _has_zlib_head(body) else _RAW
    if len(body) <= INLINE_IN:
        return inflate(body, wbits, most)
    return await asyncio.get_running_loop().run_in_executor(_worker, inflate, body, wbits, most)


def inflate(body: bytes, wbits: int, most: int) -> bytes:
    """One whole stream, never more than `most` bytes of it in memory; raises BadInput, TooLarge."""
    engine = zlib.decompressobj(wbits)
    try:
        out = engine.decompress(body, most + 1)
    except zlib.error as error:
        raise _broken(f"is broken: {error}") from error
    if len(out) > most:
        raise TooLarge(
            f"the compressed body of {len(body)} bytes inflates to more than {most}", code="body_too_large"
        )
    if not engine.eof:
        raise _broken("ends too early")
    if engine.unused_data:
        raise _broken("is followed by other bytes")
    return out


def accepted(header: bytes | None) -> Coding | None:
    """The coding an `Accept-Encoding` asks for, gzip before deflate; None: send it as it is."""
    if header is None:
        return None
    weights: dict[str, bool] = {}
    for part in header.decode("latin-1").lower().split(","):
        name, *parameters = (text.strip() for text in part.split(";"))
        weights[name] = not any(_is_zero(parameter) for parameter in parameters)
    for coding in ("gzip", "deflate"):
        if weights.get(coding, weights.get("*", False)):
            return "gzip" if coding == "gzip" else "deflate"
    return None


async def compress(inbound: Inbound, answer: Answer) -> None:
    """Codes the answer's body where the caller takes it and it has at least 1 KiB."""
    if len(answer.body) < SMALLEST:
        return
    answer.headers.append((b"vary", b"accept-encoding"))
    coding = accepted(inbound.headers.get(b"accept-encoding"))
    if coding is None:
        return
    if len(answer.body) <= INLINE_OUT:
        answer.body = deflate(answer.body, coding)
    else:
        loop = asyncio.get_running_loop()
        answer.body = await loop.run_in_executor(_worker, deflate, answer.body, coding)
    answer.headers.append((b"content-encoding", coding.encode()))


def deflate(body: bytes, coding: Coding) -> bytes:
    """The body in a coding."""
    return zlib.compress(body, LEVEL, wbits=_GZIP if coding == "gzip" else _ZLIB)


def _has_zlib_head(body: bytes) -> bool:
    """`deflate` means zlib's format (RFC 9110, 8.4.1.2), but some send it bare."""
    return len(body) > 1 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0


def _is_zero(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    return name.strip() == "q" and value.strip().rstrip("0") in ("", "0.", "0", ".")


def _broken(how: str) -> BadInput:
    return BadInput(f"the compressed body {how}", code="bad_encoding", field="content-encoding")
