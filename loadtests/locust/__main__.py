"""`make load`: every locust scenario on an installation of its own, headless, bounded; a summary by version.

`python -m loadtests.locust [--seconds 20] [--routers 1] [--json] [NAME …]`; exit status 1 when a request
failed, a check does not hold or a scenario could not run.
"""

from __future__ import annotations

import json
import sys
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from loadtests.fleet import Fleet
from loadtests.locust.scenario import Outcome, Scenario

BOTH: Final = ("1", "2")
SCENARIOS: Final = {
    scenario.name: scenario
    for scenario in (
        Scenario("steady", 16, {"digits": ("1",)}),
        Scenario("flip", 13, {"digits": BOTH}),
        Scenario("split", 16, {"digits": BOTH}),
        Scenario("mixed", 21, {"digits": ("1",), "breast-cancer": ("1",)}, {"text": ("1",)}),
        Scenario("stream", 9, {}, {"stream": BOTH}),
    )
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(SCENARIOS)))
@click.option("--seconds", default=20.0, show_default=True, help="How long each scenario runs.")
@click.option("--routers", default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The outcomes as one JSON document.")
def main(names: tuple[str, ...], seconds: float, routers: int, as_json: bool) -> None:
    """Run NAMES, or every scenario."""
    outcomes = []
    fleet = Fleet(routers=routers)
    try:
        fleet.start()
        released: set[tuple[str, str]] = set()
        for name in names or SCENARIOS:
            click.echo(f"{name} …", err=True)
            outcomes.append(attempt(SCENARIOS[name], fleet, seconds, released))
    finally:
        fleet.remove()
    if as_json:
        click.echo(json.dumps([outcome.document() for outcome in outcomes]))
    else:
        show(outcomes)
    sys.exit(any(outcome.failed for outcome in outcomes))


def attempt(scenario: Scenario, fleet: Fleet, seconds: float, released: set[tuple[str, str]]) -> Outcome:
    """Prepares and runs one; what stops it becomes its outcome, so that the others still run."""
    try:
        scenario.prepare(fleet, released)
        return scenario.run(fleet, seconds)
    except Exception as error:
        return Outcome(scenario.name, error=f"{type(error).__name__}: {error}")


def show(outcomes: list[Outcome]) -> None:
    """One row a request and version, then what was checked and what went wrong."""
    table = Table(title="Load by version")
    for head, right in (("scenario", 0), ("request", 0), ("version", 0), ("requests", 1), ("failures", 1)):
        table.add_column(head, justify="right" if right else "left")
    table.add_column("p50 ms", justify="right")
    table.add_column("p99 ms", justify="right")
    for outcome in outcomes:
        for row in outcome.requests:
            cells = [row["name"], row["version"] or "—", row["requests"], row["failures"]]
            cells += [row["p50_ms"], row["p99_ms"]]
            table.add_row(outcome.scenario, *[str(cell) for cell in cells])
        table.add_section()
    console = Console(width=None if sys.stdout.isatty() else 110, highlight=False)
    console.print(table)
    for outcome in outcomes:
        word = "FAILED" if outcome.failed else "holds"
        console.print(f"{outcome.scenario}: {word} ({outcome.seconds:.1f} s of load)", markup=False)
        for check in outcome.checks:
            mark = "holds" if check["holds"] else "DOES NOT HOLD"
            console.print(f"  {check['name']}: {mark}: {check['figures']}", markup=False)
        for row in outcome.requests:
            for text, times in row["errors"].items():
                console.print(f"  {times} × {row['name']}: {text}", markup=False)
        if outcome.error:
            console.print(f"  {outcome.error}", markup=False)


if __name__ == "__main__":
    main()
