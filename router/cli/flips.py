"""`pointsman promote`, `rollback`, `split`, `fallback`: changes of the pointer, and whether routers have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from router.cli.command import route_words, show_json, with_json


def _options(function: Callable[..., None]) -> Callable[..., None]:
    function = click.option("--reason", help="Why; kept in the history and the audit log.")(function)
    return click.option(
        "--if-match", type=click.IntRange(min=0), metavar="EPOCH", help="Only if the route is at this epoch."
    )(function)


ALLOW = click.option(
    "--allow-breaking", is_flag=True, help="Also a version whose signature breaks today's callers."
)


@click.command()
@click.argument("model")
@click.argument("version")
@ALLOW
@_options
@with_json
def promote(
    model: str, version: str, allow_breaking: bool, reason: str | None, if_match: int | None, as_json: bool
) -> None:
    """Make a version active; the one before stays warm as the previous version."""
    body = {"version": version, "reason": reason, "allow_breaking": allow_breaking or None}
    _flip(model, "promote", body, if_match, as_json)


@click.command()
@click.argument("model")
@click.option("--to", metavar="VERSION", help="To this version. [default: the previous one]")
@ALLOW
@_options
@with_json
def rollback(
    model: str,
    to: str | None,
    allow_breaking: bool,
    reason: str | None,
    if_match: int | None,
    as_json: bool,
) -> None:
    """Go back to the previous version, at once. A second rollback needs --to."""
    body = {"to": to, "reason": reason, "allow_breaking": allow_breaking or None}
    _flip(model, "rollback", body, if_match, as_json)


@click.command()
@click.argument("model")
@click.argument("weights", nargs=-1, required=True, metavar="VERSION=PERCENT...")
@ALLOW
@_options
@with_json
def split(
    model: str,
    weights: tuple[str, ...],
    allow_breaking: bool,
    reason: str | None,
    if_match: int | None,
    as_json: bool,
) -> None:
    """Share the traffic between versions: `split digits 1=90 2=10`. `1=100` ends a split."""
    body = {"weights": _weights(weights), "reason": reason, "allow_breaking": allow_breaking or None}
    _flip(model, "split", body, if_match, as_json)


@click.command()
@click.argument("model")
@click.argument("to", metavar="VERSION|auto|none")
@_options
@with_json
def fallback(model: str, to: str, reason: str | None, if_match: int | None, as_json: bool) -> None:
    """Say which version answers a request where the chosen one cannot."""
    _flip(model, "fallback", {"to": to, "reason": reason}, if_match, as_json)


def _weights(given: tuple[str, ...]) -> dict[str, float]:
    found: dict[str, float] = {}
    for text in given:
        version, equals, percent = text.rpartition("=")
        try:
            weight = float(percent)
        except ValueError:
            weight = -1.0
        if not equals or not version or not 0 <= weight <= 100:
            raise click.UsageError(f"{text!r} is not VERSION=PERCENT with a percentage of 0 to 100")
        if version in found:
            raise click.UsageError(f"version {version} is there twice")
        found[version] = weight
    return found


def _flip(model: str, action: str, body: dict[str, Any], if_match: int | None, as_json: bool) -> None:
    from router.cli.gateway import path

    given = {name: value for name, value in body.items() if value is not None}
    change(path("models", model, action), given, None, as_json, if_match)


def change(
    place: str, body: dict[str, Any], told: str | None, as_json: bool, if_match: int | None = None
) -> None:
    """Asks for a change of a route and says what became of it, in the words `told` where they are given.

    Ends with status 1 where a router is not known to follow.
    """
    from router.cli.gateway import Gateway

    headers = {} if if_match is None else {"if-match": str(if_match)}
    with Gateway() as gateway:
        answered = gateway.ask("POST", place, json=body, headers=headers)
    if as_json:
        show_json(answered.document)
    else:
        _tell(answered.document, told)
    if answered.status == 202:
        # The change stands; that not everybody is known to follow it is a failure to the caller's script.
        raise SystemExit(1)


def _tell(document: dict[str, Any], told: str | None) -> None:
    routers = document["routers"]
    already = "" if document["changed"] else "already "
    told = told or f"{document['model']}: {already}{route_words(document['route'])}"
    click.echo(f"{told}, epoch {document['epoch']}")
    counted = f"{routers['acknowledged']} of {routers['known']} routers"
    far = "so far " if routers["laggards"] else ""
    click.echo(f"acknowledged {far}by {counted} after {document['took_ms']:.1f} ms")
    for laggard in routers["laggards"]:
        click.echo(f"not by {laggard['id']}: {laggard['reason']}", err=True)
    if routers["laggards"]:
        click.echo("a router that is gone for good: pointsman routers forget ID", err=True)
