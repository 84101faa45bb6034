"""`pointsman status [MODEL]`: processes, routers, replicas and models at a glance."""

from __future__ import annotations

from typing import Any

import click

from router.cli.command import percent, route_words, show_json, with_json


@click.command()
@click.argument("model", required=False)
@with_json
def status(model: str | None, as_json: bool) -> None:
    """What runs, and who answers."""
    from router.cli.gateway import Gateway, path

    with Gateway() as gateway:
        found = gateway.get("/status" if model is None else path("models", model)).document
    if as_json:
        show_json(found)
    elif model is None:
        _whole(found)
    else:
        _model(found)
        _replicas(found["replicas"])
        _routers(found["acknowledgements"])


def _whole(found: dict[str, Any]) -> None:
    redis = found["redis"]
    place = redis.get("socket") or redis.get("url")
    click.echo(f"redis pid {redis.get('pid')} at {place}")
    agent = found["agent"]
    click.echo(f"agent pid {agent['pid'] if agent else 'none'}; revision {found['revision']}")
    click.echo()
    for model in found["models"]:
        _model(model)
        click.echo()
    if not found["models"]:
        click.echo("no models yet: pointsman register FILE.onnx --model NAME\n")
    _replicas(found["replicas"])
    click.echo()
    _routers(found["routers"])
    _quarantine(found.get("quarantine", []))


def _quarantine(found: list[dict[str, Any]]) -> None:
    from router.cli.tables import show_table

    if found:
        click.echo()
        rows = [(item["time"], item["file"], item["reason"], item["kept_as"]) for item in found]
        show_table(
            "broken files, put aside in DATA_DIR/quarantine", ("time", "file", "reason", "kept as"), rows
        )


def _model(found: dict[str, Any]) -> None:
    from router.cli.tables import show_table

    route = found["route"]
    epoch = f", epoch {route['epoch']}" if route else ""
    previous = f", previous {route['previous']}" if route and route.get("previous") else ""
    show_table(
        f"{found['model']}: {route_words(route)} answers{previous}{epoch}",
        ("version", "state", "share#", "ready#", "rowwise", "sha256"),
        [
            (
                version["version"],
                version["state"],
                percent(version["share"]) if version["serves"] else "-",
                f"{version['replicas']['ready']}/{version['replicas']['desired']}",
                "yes" if version["rowwise"] else "no",
                version["digest"][:12],
            )
            for version in found["versions"]
        ],
    )


def _replicas(found: list[dict[str, Any]]) -> None:
    from router.cli.tables import show_table

    show_table(
        "replicas",
        ("model", "version", "state", "pid#", "id", "error"),
        [
            (r["model"], r["version"], r["state"], r["pid"], r["id"], r.get("error") or _replaced(r))
            for r in found
        ],
    )
    for replica in found:
        lines = replica.get("last_lines") or ()
        if lines:
            click.echo(f"\nthe end of the log of {replica['id']}:")
        for line in lines:
            click.echo(f"  {line}")


def _replaced(replica: dict[str, Any]) -> str | None:
    """Why the replica before this one was lost."""
    return f"after {replica['replaced']}" if replica.get("replaced") else None


def _routers(found: list[dict[str, Any]]) -> None:
    from router.cli.routers import show_routers

    show_routers(found)
