"""`pointsman show`, `diff`, `compare`, `lineage`, `card`: what is known of versions, and where they differ."""

from __future__ import annotations

import re
from typing import Any

import click

from router.cli.command import show_json, with_json

DIGEST = re.compile(r"[0-9a-f]{64}\Z")
PAGE = 1_000


@click.command()
@click.argument("model")
@click.argument("version")
@with_json
def show(model: str, version: str, as_json: bool) -> None:
    """A version whole: what was registered, and what was added later."""
    from router.cli.gateway import Gateway, path
    from router.cli.tables import show_table

    with Gateway() as gateway:
        found = gateway.get(path("models", model, "versions", version)).document
    if as_json:
        show_json(found)
        return
    show_table(f"version {version} of {model}", ("field", "value"), _flat(found["document"]))
    added = [("alias", name) for name in found["aliases"]]
    added += [(f"tag {name}", value) for name, value in found["tags"].items()]
    added += [
        (f"{each['time'][:16].replace('T', ' ')} {each['actor']}", each["text"]) for each in found["notes"]
    ]
    if added:
        show_table("added later", ("what", "value"), added)
    if found["breaking"]:
        _breaking(found["breaking"]["against"], {version: found["breaking"]["changes"]})


@click.command()
@click.argument("model")
@click.argument("a")
@click.argument("b")
@with_json
def diff(model: str, a: str, b: str, as_json: bool) -> None:
    """What differs between two versions."""
    _compare(model, (a, b), True, as_json)


@click.command()
@click.argument("model")
@click.argument("versions", nargs=-1, required=True, metavar="VERSION VERSION...")
@click.option("--differing", is_flag=True, help="Leave out what is the same for all.")
@with_json
def compare(model: str, versions: tuple[str, ...], differing: bool, as_json: bool) -> None:
    """Versions side by side: data, code, parameters, environment, metrics, signature, artifact, card, tags."""
    if not 2 <= len(versions) <= 10:
        raise click.UsageError("give 2 to 10 versions")
    _compare(model, versions, differing, as_json)


def _compare(model: str, versions: tuple[str, ...], differing: bool, as_json: bool) -> None:
    from router.cli.gateway import Gateway, path
    from router.cli.pages import whole
    from router.cli.tables import show_table

    with Gateway() as gateway:
        place = path("models", model, "compare")
        asked = {"versions": ",".join(versions), "differing": "true" if differing else None}
        found = whole(gateway, place, "rows", **asked)
    if as_json:
        show_json(found)
        return
    rows: list[list[object]] = []
    section = None
    for row in found["rows"]:
        if row["section"] != section:
            section = row["section"]
            rows.append([section.upper(), *("" for _ in versions)])
        mark = "" if differing or not row["differs"] else " *"
        rows.append([f"  {row['key']}{mark}", *map(_short, row["values"])])
    title = f"{model}: {found['differing']} of {found['total']} facts differ"
    show_table(title, ("", *(f"version {version}" for version in versions)), rows)
    _breaking(versions[0], found["breaking"])


@click.command()
@click.argument("model", required=False)
@click.argument("version", required=False)
@click.option("--dataset", metavar="SHA256", help="Backwards: the versions that this data set went into.")
@with_json
def lineage(model: str | None, version: str | None, dataset: str | None, as_json: bool) -> None:
    """From data sets over parents to a version and who serves it; or from a data set to versions and requests."""
    from router.cli.gateway import Gateway, path
    from router.cli.pages import whole

    if dataset is not None:
        if model is not None:
            raise click.UsageError("give MODEL VERSION, or --dataset SHA256")
        with Gateway() as gateway:
            found = whole(gateway, "/lineage", "versions", dataset=dataset)
        show_json(found) if as_json else _of_dataset(found)
        return
    if model is None or version is None:
        raise click.UsageError("give MODEL VERSION, or --dataset SHA256")
    with Gateway() as gateway:
        found = gateway.get(path("models", model, "versions", version, "lineage")).document
    show_json(found) if as_json else _family(found)


@click.command()
@click.argument("model")
@click.argument("version")
@click.option("--html", is_flag=True, help="A page of HTML instead of Markdown.")
@with_json
def card(model: str, version: str, html: bool, as_json: bool) -> None:
    """The model card of a version."""
    from router.cli.gateway import Gateway, path

    form = "html" if html else None
    with Gateway() as gateway:
        found = gateway.get(path("models", model, "versions", version, "card"), format=form).document
    show_json(found) if as_json else click.echo(found["card"], nl=False)


def _family(found: dict[str, Any]) -> None:
    from router.cli.tables import show_table, show_text

    def line(each: dict[str, Any]) -> str:
        known = each["digest"][:12] if each.get("known", True) else "not registered here"
        return f"{each['model']} {each['version']} ({known})"

    for each in reversed(found["ancestors"]):
        _data(each["datasets"])
        show_text(f"  went into {line(each)}")
    _data(found["datasets"])
    show_text(f"  went into {line(found)}, which this is about")
    made = [("commit", found["commit"]), ("recipe", found["recipe"])]
    made += [(f"parameter {name}", value) for name, value in found["params"].items()]
    made += [(f"library {name}", value) for name, value in found["libraries"].items()]
    rows = [row for row in made if row[1] is not None]
    if rows:
        show_table("made by", ("what", "value"), rows)
    for child in found["children"]:
        show_text(f"parent of {child['model']} {child['version']}")
    serves = found["serves"]
    names = f", also called {', '.join(serves['aliases'])}" if serves["aliases"] else ""
    what = "is active" if serves["active"] else "is not active"
    show_text(
        f"it {what} with {serves['share']:g} % of the traffic, {serves['replicas']} replicas ready{names}"
    )
    if serves["requests"] is not None:
        show_text(f"it answered {serves['requests']} requests since the routers began")


def _data(datasets: list[dict[str, Any]]) -> None:
    from router.cli.tables import show_text

    for each in datasets:
        told = "; ".join(
            f"{name} {_short(value)}" for name, value in each.items() if name != "name" and value is not None
        )
        show_text(f"data {each['name']}" + (f": {told}" if told else ""))


def _of_dataset(found: dict[str, Any]) -> None:
    from router.cli.tables import show_table, show_text

    named = ", ".join(found["names"]) or "no version's lineage names it"
    show_table(
        f"data set {found['dataset'][:12]}: {named}",
        ("model", "version", "sha256", "through", "active", "requests#"),
        [
            (
                each["model"],
                each["version"],
                each["digest"][:12],
                "itself" if each["through"] is None else "{model} {version}".format(**each["through"]),
                "yes" if each["active"] else "no",
                "-" if each["requests"] is None else each["requests"],
            )
            for each in found["versions"]
        ],
    )
    if found["bounded"]:
        show_text("there may be more: no further ones are looked for")
    if found["versions"]:
        show_text("requests: by the routers of this host, since they began")


def _breaking(against: str, found: dict[str, list[str]]) -> None:
    from router.cli.tables import show_text

    for version, changes in found.items():
        if changes:
            show_text(f"version {version} breaks callers of version {against}:")
            for change in changes:
                show_text(f"  {change}")


def _flat(value: Any, prefix: str = "") -> list[tuple[str, object]]:
    if isinstance(value, dict) and value:
        return [
            row for key, item in value.items() for row in _flat(item, f"{prefix}.{key}" if prefix else key)
        ]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [row for number, item in enumerate(value) for row in _flat(item, f"{prefix}[{number}]")]
    return [(prefix, "-" if value is None else value)]


def _short(value: object) -> object:
    """As a cell holds it: a digest by its first twelve digits."""
    if isinstance(value, str) and DIGEST.match(value):
        return value[:12]
    return "-" if value is None else value
