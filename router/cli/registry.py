"""`pointsman registry [restore]`: gives a Redis that lost changes back what this host still knows."""

from __future__ import annotations

from typing import Any

import click

from router.cli.command import show_json, with_json


@click.group(invoke_without_command=True)
@with_json
@click.pass_context
def registry(context: click.Context, as_json: bool) -> None:
    """The control state in Redis: its revision, and the routes that routers do not take from it."""
    from router.cli.gateway import Gateway

    if context.invoked_subcommand is not None:
        return
    with Gateway() as gateway:
        found = gateway.get("/routers").document
    refused = {model: why for router in found["routers"] for model, why in router["refused"].items()}
    if as_json:
        show_json({"revision": found["revision"], "refused": refused})
        return
    click.echo(f"revision {found['revision']}")
    for model, why in sorted(refused.items()):
        click.echo(f"{model}: {why}")


@registry.command()
@click.option("--reason", metavar="TEXT", help="Goes into history and audit.")
@with_json
def restore(reason: str | None, as_json: bool) -> None:
    """Write back versions, deployments and routes that Redis lost; takes nothing away."""
    from router.cli.gateway import Gateway

    with Gateway() as gateway:
        found = gateway.ask("POST", "/registry/restore", json={"reason": reason}).document
    if as_json:
        show_json(found)
    else:
        for each in found["restored"]:
            click.echo(f"{each['model']}: {_written(each)}, revision {each['revision']}")
        click.echo(f"{len(found['restored'])} of {found['models']} models had lost something")
        if found["keys"]:
            click.echo(f"{found['keys']} keys were written back")
    for each in found["incomplete"]:
        missing = ", ".join(each["missing"])
        click.echo(f"{each['model']}: register version {missing} again, then promote", err=True)
    if found["incomplete"]:
        raise SystemExit(1)


def _written(each: dict[str, Any]) -> str:
    """What was written of a model, in words."""
    lists = [f"{name} {', '.join(each[name])}" for name in ("versions", "deployed") if each[name]]
    return "; ".join((["route"] if each["route"] else []) + lists)
