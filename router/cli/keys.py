"""`pointsman keys`: keys of applications and people; a secret is printed once, and kept nowhere."""

from __future__ import annotations

from typing import Any

import click

from router.cli.command import show_json, with_json


@click.group(invoke_without_command=True)
@with_json
@click.pass_context
def keys(context: click.Context, as_json: bool) -> None:
    """Keys of applications and people: create, list, rotate, revoke; without any of these the list."""
    if context.invoked_subcommand is None:
        _list(as_json)


@keys.command()
@click.argument("name")
@click.option(
    "--role", "roles", multiple=True, required=True, metavar="ROLE[:PATTERN]", help="May be given again."
)
@click.option("--expires", metavar="WHEN", help="A duration such as 90d, or a time; else never.")
@click.option("--reason", metavar="TEXT", help="Goes into the audit.")
@with_json
def create(name: str, roles: tuple[str, ...], expires: str | None, reason: str | None, as_json: bool) -> None:
    """Make a key called NAME, and print its secret, this once.

    A PATTERN is a model's name, with * for anything; without one the role is for all models.
    """
    grants = []
    for role in roles:
        word, mark, pattern = role.partition(":")
        grants.append({"role": word, "models": pattern if mark else "*"})
    body = {"name": name, "grants": grants, "expires": expires, "reason": reason}
    _show(_ask("/keys", body), as_json, f"key {name} is made: keep its secret, it is not shown again")


@keys.command("list")
@with_json
def list_keys(as_json: bool) -> None:
    """Every key: who it is, what it may, how long."""
    _list(as_json)


def _list(as_json: bool) -> None:
    from router.cli.gateway import Gateway
    from router.cli.tables import show_table

    with Gateway() as gateway:
        found = gateway.get("/keys").document
    if as_json:
        show_json(found)
        return
    rows = [
        (each["id"], each["name"], each["state"], _roles(each["grants"]), _until(each))
        for each in found["keys"]
    ]
    show_table("keys", ("id", "name", "state", "roles", "until"), rows)


@keys.command()
@click.argument("key", metavar="ID")
@click.option("--overlap", metavar="TIME", help="How long the secret before counts. [default: 24h]")
@click.option("--reason", metavar="TEXT", help="Goes into the audit.")
@with_json
def rotate(key: str, overlap: str | None, reason: str | None, as_json: bool) -> None:
    """Give a key a new secret, and print it, this once; the one before counts for a while."""
    from router.cli.gateway import path

    body = {"reason": reason} | ({} if overlap is None else {"overlap": overlap})
    found = _ask(path("keys", key, "rotate"), body)
    _show(found, as_json, _rotated(found["key"]))


@keys.command()
@click.argument("key", metavar="ID")
@click.option("--reason", metavar="TEXT", help="Goes into the audit.")
@with_json
def revoke(key: str, reason: str | None, as_json: bool) -> None:
    """End a key for good, on every router before this returns with status 0."""
    from router.cli.gateway import path

    found = _ask(path("keys", key, "revoke"), {"reason": reason})
    told = "is revoked" if found["changed"] else "was revoked already"
    _show(found, as_json, f"key {found['key']['id']} ({found['key']['name']}) {told}")


def _ask(where: str, body: dict[str, Any]) -> dict[str, Any]:
    from router.cli.gateway import Gateway

    with Gateway() as gateway:
        return gateway.ask("POST", where, json=body).document


def _show(found: dict[str, Any], as_json: bool, told: str) -> None:
    """The answer; status 1 where a router is not known to have the change."""
    laggards = found["routers"]["laggards"]
    if as_json:
        show_json(found)
    else:
        click.echo(told)
        if "secret" in found:
            click.echo(found["secret"])
        known, heard = found["routers"]["known"], found["routers"]["acknowledged"]
        click.echo(f"acknowledged by {heard} of {known} routers after {found['took_ms']:.1f} ms", err=True)
    for laggard in laggards:
        click.echo(f"not known to have it: {laggard['id']}: {laggard['reason']}", err=True)
    if laggards:
        raise SystemExit(1)


def _rotated(key: dict[str, Any]) -> str:
    until = key["overlap_ends"]
    before = (
        "the secret before has ended" if until is None else f"the secret before counts until {_day(until)}"
    )
    return f"key {key['id']} ({key['name']}) has a new secret, not shown again; {before}"


def _roles(grants: list[dict[str, str]]) -> str:
    return " ".join(
        each["role"] if each["models"] == "*" else f"{each['role']}:{each['models']}" for each in grants
    )


def _until(key: dict[str, Any]) -> str:
    end = key["revoked"] or key["expires"]
    return "-" if end is None else _day(end)


def _day(time: str) -> str:
    return time[:16].replace("T", " ")
