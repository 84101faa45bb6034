"""`pointsman history MODEL`: every change of a route, oldest first."""

from __future__ import annotations

from typing import Any

import click

from router.cli.command import route_words, show_json, with_json

PAGE = 1000


@click.command()
@click.argument("model")
@with_json
def history(model: str, as_json: bool) -> None:
    """Who changed a route, when and why."""
    from router.cli.gateway import Gateway, path

    entries: list[dict[str, Any]] = []
    with Gateway() as gateway:
        cursor = None
        while True:
            place = path("models", model, "history")
            page = gateway.get(place, limit=PAGE, cursor=cursor).document
            entries += page["history"]
            cursor = page["next"]
            if cursor is None:
                break
    if as_json:
        show_json({"history": entries, "next": None})
        return
    from router.cli.tables import show_table

    show_table(
        f"{model}: {len(entries)} changes",
        ("epoch#", "time", "who", "did", "now answers", "reason"),
        [
            (
                entry["epoch"],
                entry["time"][:19].replace("T", " "),
                entry["actor"],
                entry["action"],
                route_words(entry["after"]),
                entry["reason"],
            )
            for entry in entries
        ],
    )
