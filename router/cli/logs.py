"""`pointsman logs`: the request log as lines, of one request, of a time, or as it grows."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from router.cli.command import show_json, with_json

if TYPE_CHECKING:
    from router.cli.gateway import Gateway

PAGE = 1000
NEWEST = 100
WINDOWS = ("10s", "2m", "10m")
"""Without --since the newest records are wanted: a look at a short time first spares reading a long one."""
PAUSE_S = 0.5


@click.command()
@click.argument("model", required=False)
@click.option("--request-id", metavar="ID", help="Only the records of this request.")
@click.option("--since", metavar="TIME", help="From then on, oldest first: 10m, 2h, or 2026-11-24T07:00:00Z.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many records. [default: 100]")
@click.option("-f", "--follow", is_flag=True, help="Go on as requests come, until Ctrl-C.")
@with_json
def logs(
    model: str | None,
    request_id: str | None,
    since: str | None,
    limit: int | None,
    follow: bool,
    as_json: bool,
) -> None:
    """The request log. Without --since: the newest records of the last ten minutes.

    With --json one JSON object a line.
    """
    from router.cli.gateway import Gateway

    if request_id is not None and (follow or since is not None or model is not None):
        raise click.UsageError("--request-id goes with neither MODEL, --since nor --follow")
    with Gateway() as gateway:
        if request_id is not None:
            found = _of_request(gateway, request_id)
        elif follow:
            found = _following(gateway, model, since or "0s")
        elif since is not None:
            found = _since(gateway, model, since)
        else:
            found = _newest(gateway, model, limit or NEWEST)
        count = limit if limit is not None else None if follow else NEWEST
        try:
            for record in islice(found, count):
                show_json(record) if as_json else click.echo(_line(record))
        except KeyboardInterrupt:
            if not follow:
                raise


def _of_request(gateway: Gateway, request_id: str) -> Iterator[dict[str, Any]]:
    from router.cli.gateway import path

    yield from gateway.get(path("requests", request_id)).document["requests"]


def _since(gateway: Gateway, model: str | None, since: str) -> Iterator[dict[str, Any]]:
    cursor = None
    while True:
        page = gateway.get("/requests", model=model, since=since, limit=PAGE, cursor=cursor).document
        yield from page["requests"]
        cursor = page["next"]
        if cursor is None:
            return


def _newest(gateway: Gateway, model: str | None, limit: int) -> Iterator[dict[str, Any]]:
    found: deque[dict[str, Any]] = deque(maxlen=limit)
    for window in WINDOWS:
        found.clear()
        found.extend(_since(gateway, model, window))
        if len(found) == limit:
            break
    yield from found


def _following(gateway: Gateway, model: str | None, since: str) -> Iterator[dict[str, Any]]:
    from datetime import UTC, datetime

    if since == "0s":
        # A fixed moment: a duration would move with each page.
        since = datetime.now(UTC).isoformat()
    cursor = None
    while True:
        page = gateway.get("/requests", model=model, since=since, limit=PAGE, cursor=cursor).document
        yield from page["requests"]
        cursor = page["cursor"]
        if page["next"] is None:
            time.sleep(PAUSE_S)


def _line(record: dict[str, Any]) -> str:
    who = f"{record.get('model')}/{record.get('version') or '-'}"
    total = record.get("total_ms")
    took = f"{total:.1f} ms" if isinstance(total, int | float) else "-"
    status = record.get("status")
    parts = [
        str(record.get("time", ""))[:23].replace("T", " "),
        str(status) if status is not None else "...",
        who,
        str(record.get("reason") or "-"),
        took,
        str(record.get("request_id")),
    ]
    if record.get("error"):
        parts.append(str(record["error"]))
    return "  ".join(parts)
