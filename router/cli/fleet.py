"""`pointsman inventory`, `search`, `state`: all models and versions, as they are and as they were."""

from __future__ import annotations

import csv
import sys
from typing import Any

import click

from router.cli.command import show_json, with_json

COLUMNS = (
    *("model", "owner", "riskTier", "purpose", "limits", "active", "since", "versions"),
    *("reviewEvery", "reviewed", "reviewDue", "overdue"),
)
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@click.command()
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated values, with a line of names.")
@click.option("--overdue", is_flag=True, help="Only models whose review is overdue.")
@with_json
def inventory(as_csv: bool, overdue: bool, as_json: bool) -> None:
    """Every model: owner, risk, intended use, reviews."""
    from router.cli.gateway import Gateway
    from router.cli.pages import whole
    from router.cli.tables import show_table

    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    with Gateway() as gateway:
        found = whole(gateway, "/inventory", "models", overdue="true" if overdue else None)
    if as_json:
        show_json(found)
        return
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(COLUMNS)
        for each in found["models"]:
            writer.writerow([_cell(_told(each, name)) for name in COLUMNS])
        return
    rows = [
        (
            each["model"],
            each["owner"],
            each["riskTier"],
            each["purpose"],
            each["reviewEvery"],
            review_words(each),
        )
        for each in found["models"]
    ]
    title = f"{found['total']} models, {found['overdue']} overdue for review"
    show_table(title, ("model", "owner", "risk", "intended use", "every", "review due"), rows)


@click.command()
@click.argument("query")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="At most so many."
)
@click.option("--cursor", help="Go on behind the page that gave this.")
@with_json
def search(query: str, limit: int, cursor: str | None, as_json: bool) -> None:
    """Versions that fit QUERY, such as "metrics.auc > 0.9 and tag:fraud"."""
    from router.cli.gateway import Gateway
    from router.cli.tables import show_table

    with Gateway() as gateway:
        found = gateway.get("/search", q=query, limit=limit, cursor=cursor).document
    if as_json:
        show_json(found)
        return
    rows = [
        (
            each["model"],
            each["version"],
            "active" if each["active"] else "serves" if each["serves"] else "-",
            ", ".join(f"{name}={value}" if value else name for name, value in each["tags"].items()),
            ", ".join(
                f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                for name, value in each["metrics"].items()
            ),
        )
        for each in found["versions"]
    ]
    show_table(f"{len(rows)} versions", ("model", "version", "serves", "tags", "metrics"), rows)
    if found["next"] is not None:
        click.echo(f"there are more: --cursor {found['next']}")


@click.command()
@click.argument("model", required=False)
@click.option("--at", required=True, metavar="TIME", help="2026-11-24T07:00:00Z, or 10m for ten minutes ago.")
@with_json
def state(model: str | None, at: str, as_json: bool) -> None:
    """What was active at a time, everywhere or for one model; from the history alone."""
    from router.cli.gateway import Gateway
    from router.cli.pages import whole
    from router.cli.tables import show_table

    with Gateway() as gateway:
        found = whole(gateway, "/state", "models", at=at, model=model)
    if as_json:
        show_json(found)
        return
    rows = [
        (
            each["model"],
            each["active"],
            shares(each["weights"]),
            (each["digests"].get(each["active"]) or "-")[:12],
            each["epoch"],
            f"{each['since'][:19].replace('T', ' ')} {each['actor']}: {each['action']}",
        )
        for each in found["models"]
    ]
    show_table(f"at {found['at'][:19]}Z", ("model", "active", "shares", "sha256", "epoch#", "since"), rows)


def shares(weights: dict[str, float] | None) -> str:
    """`1=90 2=10`, or a dash."""
    return "-" if not weights else " ".join(f"{name}={weight:g}" for name, weight in weights.items())


def review_words(care: dict[str, Any]) -> str:
    """When a review is due, or since when it is overdue."""
    if care["reviewDue"] is None:
        return "-"
    return f"{care['reviewDue'][:10]}{' OVERDUE' if care['overdue'] else ''}"


def _told(care: dict[str, Any], name: str) -> object:
    value = care[name]
    return value["time"] if name == "reviewed" and value is not None else value


def _cell(value: object) -> object:
    """What no spreadsheet takes for a formula."""
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return "" if value is None else value
