"""Asks a replica that is out whether it would answer: one GET of /readyz on a connection of its own."""

from __future__ import annotations

import asyncio
from time import monotonic

from router.upstream.judgement import Judgement
from router.upstream.link import LinkFailed, Reply, connect
from router.upstream.turn import Place

PROBE_S = 1.0
# BentoML's own path; our service runs its model there, a user's does what its author thought right. The lean
# lane's connections are not used: one that has said anything else is read by the slower parser for good.
REQUEST = b"GET /readyz HTTP/1.1\r\nhost: replica\r\nconnection: close\r\n\r\n"


class ProbeFailed(Exception):
    """It does not answer, or not with 200; the text says what came."""


async def probe(address: str) -> float:
    """Seconds it took to answer with 200. Raises ProbeFailed, within about a second."""
    began = monotonic()
    answered: asyncio.Future[Reply | LinkFailed] = asyncio.get_running_loop().create_future()

    def ended(reply: Reply | LinkFailed) -> None:
        if not answered.done():
            answered.set_result(reply)

    link = None
    try:
        async with asyncio.timeout(PROBE_S):
            link = await connect(address)
            link.send(REQUEST, ended)
            reply = await answered
    except (OSError, TimeoutError) as error:
        raise ProbeFailed(str(error) or "no answer in time") from error
    finally:
        if link is not None:
            link.close()
    if isinstance(reply, LinkFailed):
        raise ProbeFailed(str(reply))
    if reply.status != 200:
        raise ProbeFailed(f"/readyz answers {reply.status}")
    return monotonic() - began


async def trial(place: Place, judgement: Judgement) -> None:
    """The trial of a replica that is out, at the risk of no caller's request."""
    try:
        took = await probe(place.replica.address)
    except ProbeFailed as failed:
        if place.health.out:
            judgement.failed(place, str(failed), monotonic())
        return
    if place.health.out:  # else work of a panic was faster
        judgement.refused(place, took, monotonic())
