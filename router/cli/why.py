"""`pointsman why REQUEST_ID`: the record of a request and the change behind its route, told in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from router.cli.command import percent, route_words, show_json, with_json

if TYPE_CHECKING:
    from router.cli.gateway import Gateway

REASONS = {
    "pin": "the caller asked for this version by name",
    "rule": "a rule of the route sent it there",
    "active": "it was the model's active version, and the traffic was not split",
    "sticky": "the traffic was split, and the caller's routing key falls into this version's buckets",
    "split": "the traffic was split, and chance chose it; the request had no routing key",
    "fallback": "another version failed, and this one answered in its place",
}


@click.command()
@click.argument("request_id")
@with_json
def why(request_id: str, as_json: bool) -> None:
    """Explain who answered a request, and why. Takes a request id or a record id."""
    from router.cli.gateway import Gateway, path

    with Gateway() as gateway:
        found = gateway.get(path("requests", request_id)).document
        changes = {}
        for record in found["requests"]:
            key = (str(record.get("model")), record.get("epoch"))
            if record.get("epoch") and key not in changes:
                changes[key] = _change(gateway, *key)
    history = [change for change in changes.values() if change is not None]
    if as_json:
        show_json({**found, "history": history})
        return
    for number, record in enumerate(found["requests"]):
        if number:
            click.echo()
        change = changes.get((str(record.get("model")), record.get("epoch")))
        click.echo("\n".join(explain(record, change)))


def _change(gateway: Gateway, model: str, epoch: object) -> dict[str, Any] | None:
    from router.cli.gateway import path
    from router.cli.refused import Refused

    try:
        entries = gateway.get(path("models", model, "history"), epoch=epoch).document["history"]
    except Refused as refused:
        click.echo(f"the history of {model} could not be read: {refused.message}", err=True)
        return None
    return entries[0] if entries else None


def explain(record: dict[str, Any], change: dict[str, Any] | None) -> list[str]:
    """A record and the history entry of its epoch as sentences; pure."""
    lines = [_outcome(record)]
    if record.get("version") and record.get("reason"):
        reason = str(record["reason"])
        lines.append(f"Version {record['version']} because {REASONS.get(reason, reason)} ({reason}).")
        lines += _rule(record, change)
    if record.get("epoch"):
        lines.append(_route(record, change))
    lines += _attempts(record)
    lines.append(_times(record))
    lines.append(
        f"Record {record.get('record_id')}, written by router {record.get('router')} at {record.get('time')}."
    )
    return lines


def _outcome(record: dict[str, Any]) -> str:
    who = f"model {record.get('model')}"
    if record.get("version"):
        who = f"version {record['version']} of {who}"
    text = f"Request {record.get('request_id')} to {who}"
    status, error = record.get("status"), record.get("error")
    if status is None:
        return f"{text} has no end: {error or 'it is still being answered'}."
    if error:
        return f"{text} was answered {status}: {error}."
    digest = str(record.get("digest") or "")[:12]
    return f"{text} was answered {status}" + (f" by the artifact with sha256 {digest}…." if digest else ".")


def _rule(record: dict[str, Any], change: dict[str, Any] | None) -> list[str]:
    if record["reason"] != "rule" or change is None:
        return []
    rules = [rule for rule in change["after"].get("rules", ()) if rule.get("to") == record["version"]]
    return [f"Rule {rule.get('name')}: when {rule.get('when')}, to {rule.get('to')}." for rule in rules]


def _route(record: dict[str, Any], change: dict[str, Any] | None) -> str:
    epoch = record["epoch"]
    if change is None:
        return f"The route was at epoch {epoch}, of which the history holds nothing."
    reason = f', because "{change["reason"]}"' if change.get("reason") else "; no reason was given"
    weights = change["after"].get("weights") or {}
    share = weights.get(str(record.get("version")))
    part = f", {percent(share)} to this version" if share is not None else ""
    return (
        f"The route was at epoch {epoch}: {route_words(change['after'])}{part}. "
        f"{change['actor']} made it by {change['action']} at {change['time']}{reason}."
    )


def _attempts(record: dict[str, Any]) -> list[str]:
    attempts = record.get("attempts") or []
    lines = []
    for number, attempt in enumerate(attempts, 1):
        text = f"Attempt {number} of {len(attempts)}: replica {attempt.get('replica')}"
        text += f" of version {attempt.get('version')} gave {attempt.get('status')}"
        if attempt.get("error"):
            text += f" ({attempt['error']})"
        lines.append(text + f" after {_ms(attempt.get('upstream_ms'))}.")
    return lines


def _times(record: dict[str, Any]) -> str:
    if not record.get("attempts"):
        return f"It took {_ms(record.get('total_ms'))}; no replica was asked."
    text = f"It took {_ms(record.get('total_ms'))}: {_ms(record.get('queue_ms'))} waiting for a replica, "
    text += f"{_ms(record.get('upstream_ms'))} in it"
    rows, batch = record.get("rows"), record.get("batch_rows")
    if rows is not None and batch is not None:
        text += f"; {rows} row{'s' if rows != 1 else ''} in a batch of {batch}"
    return text + "."


def _ms(value: object) -> str:
    return f"{value:.2f} ms" if isinstance(value, int | float) else "an unknown time"
