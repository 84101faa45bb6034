"""What a verification found, as the answer and the command line tell it; pure."""

from __future__ import annotations

from typing import Any

from router.audit.chain import GENESIS, Chain, Finding


def verdict(chain: Chain, found: list[Finding], signers: int) -> dict[str, Any]:
    """`first_bad` is the number of the first bad entry; null also where what is wrong belongs to no entry."""
    last = chain.entries[-1] if chain.entries else {"seq": 0, "hash": GENESIS}
    return {
        "chain": chain.name,
        "intact": not found,
        "entries": chain.length,
        "head": {"seq": last["seq"], "hash": last["hash"]},
        "keys": signers,
        "first_bad": next((each.seq for each in found if each.seq is not None), None),
        "findings": [each._asdict() for each in found],
    }
