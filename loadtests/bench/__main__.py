"""`make bench`: the command line of the benchmark; prints tables, writes docs/bench.md and docs/bench.svg."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import click
from rich.console import Console

from loadtests.bench import goals, machine, page, plot, proxies, wrk
from loadtests.bench.run import run_section, workshop
from loadtests.bench.section import Outcome
from loadtests.bench.sections import SECTIONS, Skipped
from loadtests.bench.tune import tune

screen = Console(width=None if sys.stdout.isatty() else 180)
began = time.monotonic()
QUIET_LOAD = 0.5


def told(text: str) -> None:
    """Where it is, on stderr."""
    print(f"{time.monotonic() - began:6.0f} s  {text}", file=sys.stderr, flush=True)


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=5.0, show_default=True, type=click.FloatRange(1), help="Of each load.")
@click.option("--only", multiple=True, type=click.Choice(list(SECTIONS)), help="These sections; repeatable.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/bench.md"), show_default=True)
@click.option("--routers", default=1, show_default=True, help="Router processes of the gateway.")
@click.option("--replicas", default=1, show_default=True, help="Replicas of the gateway's versions.")
@click.option("--pin", is_flag=True, help="All servers on the first core, wrk on the last.")
@click.option("--tune", "tuning", is_flag=True, help="Only try BentoML's set-ups, to find its fastest.")
def main(
    rounds: int,
    seconds: float,
    only: tuple[str, ...],
    out: Path,
    routers: int,
    replicas: int,
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
    core = pinned() if pin else None
    facts = machine.facts()
    outcomes: dict[str, Outcome] = {}
    skipped: dict[str, str] = {}
    with workshop(routers, replicas) as shop:
        if tuning:
            screen.print(tune(shop, seconds, told))
            return
        for name in only or tuple(SECTIONS):
            try:
                outcomes[name] = run_section(shop, SECTIONS[name], rounds, seconds, told, core)
            except Skipped as why:
                skipped[name] = str(why)
                told(f"{name} skipped: {why}")
                continue
            screen.print(page.terminal(outcomes[name]))
    reached = goals.goals(outcomes)
    if reached:
        screen.print(page.goal_table(reached))
    cores = "servers on one core, wrk on another" if pin else "all cores shared by servers and wrk"
    size = f"{routers} routers, {replicas} replicas of a version"
    how = f"{rounds} interleaved rounds of {seconds:g} s each, medians; {cores}; {size}."
    write(out, page.markdown(outcomes, reached, facts, how, skipped), plot.svg(plot.series_of(outcomes)))


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
