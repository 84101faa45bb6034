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
        _care(found.get("care"))
        _replicas(found["replicas"])
        _routers(found["acknowledgements"])


def _whole(found: dict[str, Any]) -> None:
    redis = found["redis"]
    place = redis.get("socket") or redis.get("url")
    click.echo(f"redis pid {redis.get('pid')} at {place}")
    agent = found["agent"]
    click.echo(f"agent pid {agent['pid'] if agent else 'none'}; revision {found['revision']}")
    click.echo()
    _fleet(found["models"])
    click.echo()
    ready = sum(_well(replica) for replica in found["replicas"])
    click.echo(f"replicas: {ready} of {len(found['replicas'])} ready")
    if troubled := [replica for replica in found["replicas"] if not _well(replica)]:
        _replicas(troubled)
    click.echo()
    _routers(found["routers"])
    _quarantine(found.get("quarantine", []))


def _care(care: dict[str, Any] | None) -> None:
    from router.cli.tables import show_text

    if care is None:
        return
    told = [("owner", care["owner"]), ("risk", care["riskTier"]), ("intended use", care["purpose"])]
    told += [("alias", f"{name} = {version}") for name, version in care["aliases"].items()]
    if care["reviewDue"] is not None:
        told.append(("review", f"due {care['reviewDue'][:10]}{', OVERDUE' if care['overdue'] else ''}"))
    for name, text in told:
        if text:
            show_text(f"{name}: {text}")


def _fleet(models: list[dict[str, Any]]) -> None:
    """A line a model."""
    from router.cli.tables import show_table

    if not models:
        click.echo("no models yet: pointsman register FILE.onnx --model NAME")
        return
    show_table(
        f"{len(models)} models; one of them closer: pointsman status MODEL",
        ("model", "owner", "active", "age#", "shares", "rollout", "alerts#", "review"),
        [_line(model) for model in models],
    )


def _line(model: dict[str, Any]) -> tuple[object, ...]:
    from router.cli.fleet import review_words, shares

    care, route = model.get("care") or {}, model["route"] or {}
    return (
        model["model"],
        care.get("owner") or "-",
        route.get("active") or "-",
        _age(care.get("since")),
        shares(route.get("weights")),
        (care.get("rollout") or {}).get("phase", "-"),
        len(care.get("alerts", ())) or "-",
        review_words(care) if care else "-",
    )


def _age(since: str | None) -> str:
    """`3d`: how long the active version has been active."""
    if since is None:
        return "-"
    from datetime import UTC, datetime

    left = max(0.0, (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if left >= length:
            return f"{left // length:.0f}{unit}"
    return f"{left:.0f}s"


def _well(replica: dict[str, Any]) -> bool:
    return replica["state"] == "ready" and not replica.get("replaced")


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
