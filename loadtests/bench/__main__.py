"""`make bench`: the command line of the benchmark; prints tables, writes docs/bench.md and docs/bench.svg."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import click
from rich.console import Console

from loadtests.bench import goals, machine, page, plot, proxies, wrk
from loadtests.bench.account import Account
from loadtests.bench.distinct import MOST, distinct
from loadtests.bench.growth import growth
from loadtests.bench.run import cores, run_section, workshop
from loadtests.bench.section import Outcome
from loadtests.bench.sections import SECTIONS, Skipped
from loadtests.bench.tune import tune
from loadtests.bench.workshop import Workshop

screen = Console(width=None if sys.stdout.isatty() else 180)
began = time.monotonic()
QUIET_LOAD = 0.5
NAMES = (*SECTIONS, "growth", "distinct")


def told(text: str) -> None:
    """Where it is, on stderr."""
    print(f"{time.monotonic() - began:6.0f} s  {text}", file=sys.stderr, flush=True)


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=5.0, show_default=True, type=click.FloatRange(1), help="Of each load.")
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="These sections; repeatable.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/bench.md"), show_default=True)
@click.option(
    "--routers",
    type=click.IntRange(1, 64),
    show_default="as many as cores",
    help="Router processes of the gateway.",
)
@click.option("--replicas", default=1, show_default=True, help="Replicas of the gateway's versions.")
@click.option(
    "--growth-requests",
    default=1_000_000,
    show_default=True,
    type=click.IntRange(1000),
    help="Over which `growth` looks at the routers' memory.",
)
@click.option(
    "--distinct-rows",
    default=1_000_000,
    show_default=True,
    type=click.IntRange(1000, MOST),
    help="That `distinct` sends, each once.",
)
@click.option("--pin", is_flag=True, help="All servers on the first core, wrk on the last.")
@click.option("--tune", "tuning", is_flag=True, help="Only try BentoML's set-ups, to find its fastest.")
def main(
    rounds: int,
    seconds: float,
    only: tuple[str, ...],
    out: Path,
    routers: int | None,
    replicas: int,
    growth_requests: int,
    distinct_rows: int,
    pin: bool,
    tuning: bool,
) -> None:
    """Compare the gateway with `bentoml serve` and nginx; wrong answers or errors end it with status 1."""
    if not wrk.installed():
        raise click.ClickException(wrk.MISSING)
    if proxies.installed() is None:
        told(f"{proxies.MISSING}; the section `proxy` will be skipped")
    if os.getloadavg()[0] > QUIET_LOAD:
        told(f"this machine is busy (load {os.getloadavg()[0]:.1f}): the figures will be of little worth")
    facts = machine.facts()
    core = pinned() if pin else None
    size = Size(rounds, seconds, growth_requests, distinct_rows, core)
    routers = routers or cores()
    with workshop(routers, replicas) as shop:
        if tuning:
            screen.print(tune(shop, seconds, told))
            return
        done = sections(shop, only or NAMES, size)
    reached = goals.goals(done.outcomes, done.accounts)
    screen.print(page.goal_table(reached))
    shared = "servers on one core, wrk on another" if pin else "all cores shared by servers and wrk"
    gateway = f"the gateway's routers: {routers}, on {cores()} cores; replicas of a version: {replicas}"
    how = f"{rounds} interleaved rounds of {seconds:g} s each, medians; {shared}; {gateway}."
    text = page.markdown(done.outcomes, done.accounts, reached, facts, how, done.skipped)
    write(out, text, plot.svg(plot.series_of(done.outcomes)))
    if any(goal.section == "distinct" and goal.holds is False for goal in reached):
        raise click.ClickException("not every row got its own, right answer")


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything; `core` is wrk's own, if it has one."""

    rounds: int
    seconds: float
    growth_requests: int
    distinct_rows: int
    core: int | None


@dataclass(slots=True)
class Done:
    """What came of the sections."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def sections(shop: Workshop, names: tuple[str, ...], size: Size) -> Done:
    """Runs them one after another, and prints each."""
    done = Done()
    for name in names:
        if name in SECTIONS:
            try:
                outcome = run_section(shop, SECTIONS[name], size.rounds, size.seconds, told, size.core)
            except Skipped as why:
                done.skipped[name] = str(why)
                told(f"{name} skipped: {why}")
                continue
            done.outcomes[name] = outcome
            screen.print(page.terminal(outcome))
            continue
        with ExitStack() as stack:
            if name == "growth":
                account = growth(shop, stack, size.growth_requests, told)
            else:
                account = distinct(shop, stack, size.distinct_rows, told)
        done.accounts[name] = account
        screen.print(page.account_table(account))
    return done


def pinned() -> int:
    """Keeps this process and all it starts on the first core; gives the one for wrk."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise click.ClickException("--pin needs two cores")
    os.sched_setaffinity(0, cores[:1])
    return cores[-1]


def write(out: Path, text: str, drawing: str) -> None:
    """The page, and the plot beside it under the name the page shows."""
    out.write_text(text)
    told(f"wrote {out}")
    if drawing:
        out.with_name("bench.svg").write_text(drawing)


if __name__ == "__main__":
    main()
