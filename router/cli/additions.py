"""`pointsman tag`, `note`, `alias`, `review`: what is said of versions and models after their registration."""

from __future__ import annotations

from typing import Any

import click

from router.cli.command import show_json, with_json

REASON = click.option("--reason", help="Why; kept with the change.")


@click.command()
@click.argument("model")
@click.argument("version")
@click.argument("tags", nargs=-1, metavar="KEY[=VALUE]...")
@click.option("--remove", multiple=True, metavar="KEY", help="Take this tag away. May be given again.")
@REASON
@with_json
def tag(
    model: str,
    version: str,
    tags: tuple[str, ...],
    remove: tuple[str, ...],
    reason: str | None,
    as_json: bool,
) -> None:
    """Set tags of a version, or take some away; without any, show them."""
    from router.cli.gateway import Gateway, path

    wanted: dict[str, str | None] = {}
    for text in tags:
        key, _, value = text.partition("=")
        if not key or key in wanted:
            raise click.UsageError(f"{text!r} is no KEY=VALUE, or its key is there twice")
        wanted[key] = value
    for key in remove:
        if key in wanted:
            raise click.UsageError(f"tag {key} is both set and removed")
        wanted[key] = None
    place = path("models", model, "versions", version)
    with Gateway() as gateway:
        if wanted:
            body = {"tags": wanted, "reason": reason}
            found = gateway.ask("POST", f"{place}/tags", json=body).document
        else:
            found = gateway.get(place).document
    if as_json:
        show_json(found)
        return
    _rows(f"tags of version {version} of {model}", ("tag", "value"), found["tags"])


@click.command()
@click.argument("model")
@click.argument("version")
@click.argument("text")
@with_json
def note(model: str, version: str, text: str, as_json: bool) -> None:
    """Write a note on a version; it stays, with your name and the time."""
    from router.cli.gateway import Gateway, path

    place = path("models", model, "versions", version, "notes")
    with Gateway() as gateway:
        found = gateway.ask("POST", place, json={"text": text}).document
    count = len(found["notes"])
    show_json(found) if as_json else click.echo(
        f"version {version} of {model} has {count} note{'' if count == 1 else 's'}"
    )


@click.command()
@click.argument("model")
@click.argument("name", required=False)
@click.argument("version", required=False)
@click.option("--remove", is_flag=True, help="Take the alias NAME away.")
@REASON
@with_json
def alias(
    model: str, name: str | None, version: str | None, remove: bool, reason: str | None, as_json: bool
) -> None:
    """Let NAME stand for a version; with MODEL alone, list the aliases. Changes nobody's answers."""
    from router.cli.flips import change
    from router.cli.gateway import Gateway, path

    if name is None and not remove:
        with Gateway() as gateway:
            found = gateway.get(path("models", model, "aliases")).document
        if as_json:
            show_json(found)
        else:
            _rows(f"aliases of {model}", ("alias", "version"), found["aliases"])
        return
    if name is None or (version is None) != remove:
        raise click.UsageError("give MODEL NAME VERSION, or MODEL NAME --remove")
    body = {"name": name, "version": version, "reason": reason}
    told = f"{model}: {name} stands for " + ("nothing any more" if version is None else f"version {version}")
    change(path("models", model, "aliases"), body, told, as_json)


@click.command()
@click.argument("model")
@click.option("--every", metavar="INTERVAL", help="How often from now on: 90d, 12h, 26w, or never.")
@click.option("--only-interval", is_flag=True, help="Set --every without marking the model as reviewed.")
@REASON
@with_json
def review(model: str, every: str | None, only_interval: bool, reason: str | None, as_json: bool) -> None:
    """Mark a model as reviewed now, and say how often it is to be."""
    from router.cli.gateway import Gateway, path

    if only_interval and every is None:
        raise click.UsageError("--only-interval needs --every")
    body = {"reviewed": not only_interval, "every": every, "reason": reason}
    with Gateway() as gateway:
        found = gateway.ask("POST", path("models", model, "review"), json=body).document
    if as_json:
        show_json(found)
        return
    last = found["reviewed"]
    told = "was never reviewed" if last is None else f"was reviewed {last['time'][:10]} by {last['actor']}"
    due = "no interval is set" if found["reviewDue"] is None else f"due again {found['reviewDue'][:10]}"
    click.echo(f"{model} {told}; {due}")


def _rows(title: str, columns: tuple[str, str], found: dict[str, Any]) -> None:
    from router.cli.tables import show_table

    show_table(title, columns, found.items())
