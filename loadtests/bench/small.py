"""`make bench-small`: the gateway over `bentoml serve`, its ratios against recorded ones with room for noise."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

import click

from loadtests.bench import sections, wrk
from loadtests.bench.run import run_section, workshop
from loadtests.bench.section import Outcome, p50, throughput

RECORDED: Final = Path(__file__).with_name("recorded.json")
ROUNDS, SECONDS = 2, 2.0
KEPT: Final = 2 / 3
"""Of each recorded ratio: what is below lost more than a third."""


def ratios(outcome: Outcome) -> dict[str, float]:
    """How many times the gateway is better than `bentoml serve`; more is better in each."""
    return {
        "throughput at 1": outcome.ratio(throughput, "v1", 1),
        "throughput at 64": outcome.ratio(throughput, "v1", 64),
        "p50 at 1": 1 / outcome.ratio(p50, "v1", 1),
    }


def lost(found: dict[str, float], recorded: dict[str, float]) -> list[str]:
    """Which ratios lost more than a third, in words; a ratio that is recorded and not found is lost too."""
    return [
        f"{name}: {found.get(name, 0.0):.2f} ×, recorded {ratio:.2f} ×"
        for name, ratio in recorded.items()
        if found.get(name, 0.0) < ratio * KEPT
    ]


def recorded() -> dict[str, float]:
    """The ratios that the lead recorded; {} before that."""
    return dict(json.loads(RECORDED.read_text())["ratios"])


def measure() -> dict[str, float]:
    """Runs it with one router, however many cores there are; raises Wrong, Unclean."""
    with workshop() as shop:
        return ratios(run_section(shop, sections.small, ROUNDS, SECONDS, _told))


def _told(text: str) -> None:
    click.echo(text, err=True)


@click.command()
@click.option("--record", is_flag=True, help="Write the ratios down as those to compare with.")
def main(record: bool) -> None:
    """Compare the gateway's ratios with the recorded ones; status 1 when one lost more than a third."""
    if not wrk.installed():
        raise click.ClickException(wrk.MISSING)
    found = measure()
    known = recorded()
    for name, ratio in found.items():
        told = f"recorded {known[name]:.2f} ×" if name in known else "nothing recorded"
        click.echo(f"{name}: {ratio:.2f} × bentoml serve ({told})")
    if record:
        rounded = {name: round(ratio, 2) for name, ratio in found.items()}
        RECORDED.write_text(json.dumps({"ratios": rounded}, indent=2) + "\n")
        return
    if not known:
        raise click.ClickException("nothing is recorded: run with --record on a quiet machine")
    if fallen := lost(found, known):
        click.echo("lost more than a third: " + "; ".join(fallen), err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
