"""`pointsman routers [forget ID]`: who must acknowledge a change, and whom nobody should wait for."""

from __future__ import annotations

from typing import Any

import click

from router.cli.command import show_json, with_json


@click.group(invoke_without_command=True)
@with_json
@click.pass_context
def routers(context: click.Context, as_json: bool) -> None:
    """The known routers; forget one that is gone for good."""
    from router.cli.gateway import Gateway

    if context.invoked_subcommand is not None:
        return
    with Gateway() as gateway:
        found = gateway.get("/routers").document
    if as_json:
        show_json(found)
    else:
        show_routers(found["routers"])


@routers.command()
@click.argument("router", metavar="ID")
@with_json
def forget(router: str, as_json: bool) -> None:
    """Take a router out of the known ones; one that lives comes back by itself."""
    from router.cli.gateway import Gateway, path

    with Gateway() as gateway:
        found = gateway.ask("DELETE", path("routers", router)).document
    show_json(found) if as_json else click.echo(f"router {router} is forgotten")


def show_routers(found: list[dict[str, Any]]) -> None:
    """A table of routers."""
    from router.cli.tables import show_table

    show_table(
        "routers",
        ("id", "state", "revision#", "pid#", "heard#", "refused"),
        [
            (
                r["id"],
                r["state"],
                r["revision"],
                r["pid"],
                f"{r['heard_ms'] / 1000:.1f} s",
                "; ".join(r["refused"].values()),
            )
            for r in found
        ],
    )
