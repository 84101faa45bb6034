"""What all commands have in common: `--json`, and the refusal in both forms."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import click

from router.cli.refused import Refused


def with_json(function: Callable[..., None]) -> Callable[..., None]:
    """Adds `--json` (argument `as_json`); a refusal is then one document on stdout, too."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document: the HTTP answer.")
    @functools.wraps(function)
    def command(*args: Any, as_json: bool, **kwargs: Any) -> None:
        try:
            function(*args, as_json=as_json, **kwargs)
        except Refused as refused:
            if as_json:
                show_json(refused.document)
            raise

    return command


def show_json(document: object) -> None:
    """One document, on one line."""
    click.echo(json.dumps(document, ensure_ascii=False))


def percent(weight: float) -> str:
    """`12.5 %`."""
    return f"{weight:g} %"


def route_words(route: dict[str, Any] | None) -> str:
    """Who answers, in a few words."""
    if route is None or route.get("active") is None:
        return "nobody"
    weights = route.get("weights")
    if not weights:
        return f"version {route['active']}"
    shares = ", ".join(f"version {name} {percent(weight)}" for name, weight in weights.items())
    return f"{shares} (active: {route['active']})"
