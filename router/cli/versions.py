"""`pointsman deploy` and `undeploy`: replicas of a version, started and stopped."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from router.cli.command import show_json, with_json

MARGIN_S = 15.0  # beyond the wait that the server was asked for


@click.command()
@click.argument("model")
@click.argument("version")
@click.option("--replicas", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option(
    "--timeout", type=click.FloatRange(0, 3600), default=60, show_default=True, help="Seconds to wait."
)
@click.option("--reason", help="Why, for the audit log.")
@with_json
def deploy(
    model: str, version: str, replicas: int, timeout: float, reason: str | None, as_json: bool
) -> None:
    """Start replicas of a version and wait until they are ready; changes no route."""
    from router.cli.gateway import Gateway, path

    body: dict[str, object] = {"replicas": replicas}
    if reason is not None:
        body["reason"] = reason
    with Gateway() as gateway, _waiting(f"waiting for version {version} of {model}"):
        document = gateway.ask(
            "POST",
            path("models", model, "versions", version, "deploy"),
            json=body,
            params={"wait": f"{timeout:g}"},
            answer_s=timeout + MARGIN_S,
        ).document
    if as_json:
        show_json(document)
        return
    click.echo(f"version {version} of {model} is ready: {document['ready']} of {replicas} replicas")
    click.echo(f"next: pointsman promote {model} {version}")


@click.command()
@click.argument("model")
@click.argument("version")
@click.option("--force", is_flag=True, help="Also the previous version, which a rollback would need.")
@click.option("--reason", help="Why, for the audit log.")
@with_json
def undeploy(model: str, version: str, force: bool, reason: str | None, as_json: bool) -> None:
    """Stop the replicas of a version that no route needs."""
    from router.cli.gateway import Gateway, path

    body: dict[str, object] = {"force": force}
    if reason is not None:
        body["reason"] = reason
    with Gateway() as gateway:
        place = path("models", model, "versions", version, "undeploy")
        document = gateway.ask("POST", place, json=body).document
    if as_json:
        show_json(document)
    else:
        click.echo(f"version {version} of {model} is no longer asked for; its replicas finish and stop")


@contextmanager
def _waiting(text: str) -> Iterator[None]:
    """A spinner on a terminal's stderr."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield
