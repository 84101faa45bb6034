"""`pointsman restart`: asks for a restart without a failed request, and tells its steps until its end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from router.cli.command import show_json, with_json
from router.cli.refused import Refused

if TYPE_CHECKING:
    from router.cli.gateway import Gateway

LOOK_S = 0.2
PATIENCE_S = 20.0  # for a control listener that does not answer meanwhile
AWAY = ("no_answer", "unreachable", "up_away")
WHAT = ("routers", "replicas", "agent")


@click.command()
@click.argument("what", type=click.Choice(WHAT))
@click.argument("model", required=False)
@click.argument("version", required=False)
@with_json
def restart(what: str, model: str | None, version: str | None, as_json: bool) -> None:
    """Restart processes of this host one by one, without a failed request.

    WHAT is `routers`, `replicas` (all, or those of MODEL, or of one VERSION) or `agent`.
    """
    from router.cli.gateway import Gateway

    if model is not None and what != "replicas":
        raise click.UsageError("only replicas are restarted by model")
    body = {"what": what, "model": model, "version": version}
    asked = {name: value for name, value in body.items() if value is not None}
    with Gateway() as gateway:
        found = gateway.ask("POST", "/restart", json=asked).document
        found = _followed(gateway, found, quiet=as_json)
    if found["restart"]["state"] == "failed":
        raise Refused(_summary(found["restart"]), "restart_failed", found)
    show_json(found) if as_json else click.echo(_summary(found["restart"]))


def _followed(gateway: Gateway, found: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """The document at the end; every step is told once it is done."""
    wanted, told = found["restart"]["id"], 0
    heard = time.monotonic()
    while True:
        now = found["restart"]
        if now is None or now["id"] != wanted:
            raise Refused("`up` began anew, or another restart did: the outcome is unknown", "restart_lost")
        for step in now["steps"][told:]:
            if not quiet:
                click.echo(_step(step))
        told = len(now["steps"])
        if now["state"] != "running":
            return found
        time.sleep(LOOK_S)
        try:
            found = gateway.get("/restart").document
            heard = time.monotonic()
        except Refused as refused:
            if refused.code not in AWAY or time.monotonic() - heard > PATIENCE_S:
                raise


def _step(step: dict[str, Any]) -> str:
    cut = "" if step["clean"] else " (the old one was killed: it did not end in time)"
    return f"{step['name']}: {step['old']} -> {step['new'] or 'none'} after {step['took_s']:.1f} s{cut}"


def _summary(restart: dict[str, Any]) -> str:
    count = len(restart["steps"])
    if restart["state"] == "failed":
        return f"after {count} restarted: {restart['error']}"
    return f"{restart['what']}: {count} restarted in {restart['took_s']:.1f} s"
