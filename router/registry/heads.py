"""Signed heads that lie in Redis, kept outside of it too: other hosts' ones, and those of a killed process.

Nothing is signed because it stands in Redis, or whoever writes there would get his forgeries signed. The one
exception: what a first start finds from before there was a key.
"""

from __future__ import annotations

import time

import orjson

from router.audit import signing
from router.audit.chain import signed_head
from router.clock import rfc3339
from router.registry.audit import Head
from router.registry.registry import Registry
from router.registry.trail import heads


async def keep_heads(registry: Registry) -> int:
    """How many were kept. Raises redis' own errors, OSError, ValueError for a trusted key that is none."""
    notary = registry.notary
    if notary is None:
        return 0
    ends, signed = await heads(registry)
    known, trusted, found = notary.last(), notary.trusted(), 0
    for chain, line in signed.items():
        try:
            head = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue  # the verification names it
        finding, seq, _ = signed_head(head, chain, trusted, signing.verify)
        if finding is None and seq > known.get(chain, 0):
            notary.keep(line)
            found += 1
    if notary.fresh:
        for chain in ends.keys() - signed.keys() - known.keys():
            end = Head.parse(ends[chain])
            notary.keep(notary.sign(chain, end.seq, end.hash, rfc3339(time.time())))
            found += 1
        notary.fresh = False
    return found
