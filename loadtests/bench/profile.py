"""`make profile`: the routers under load, its CPU time a request by room, and a flame graph.

The share of a room in the samples times the routers' measured CPU time a request. The CPU time is measured
before sampling begins, so that what py-spy costs is not in it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from loadtests.bench import proxies, stacks, wrk
from loadtests.bench.bodies import V1, V2, Form
from loadtests.bench.checking import check
from loadtests.bench.contender import Contender
from loadtests.bench.flame import flame
from loadtests.bench.installation import Installation
from loadtests.bench.run import cores, workshop
from loadtests.bench.sections import passed_through
from loadtests.bench.workshop import GATEWAY_MODEL, V1_PATH, V2_PATH, Workshop, gateway
from loadtests.fleet import wait_for

ROOT: Final = Path(__file__).parent.parent.parent
SHOWN: Final = 25


def tensors(form: Form, path: str) -> Callable[[Workshop, ExitStack], tuple[Installation, Contender]]:
    """The tensor lane through one protocol."""

    def make(shop: Workshop, stack: ExitStack) -> tuple[Installation, Contender]:
        made = shop.installation(stack)
        made.serve(GATEWAY_MODEL, shop.gradient_boosting)
        return made, gateway(made, "x", f"gateway, {form.name}", path, shop.bodies(form, shop.rows(1)))

    return make


def passing(shop: Workshop, stack: ExitStack) -> tuple[Installation, Contender]:
    """The pass-through lane before a trivial upstream, log without payload."""
    made, contender, _ = passed_through(shop, stack)
    return made, contender


LANES: Final = {"v1": tensors(V1, V1_PATH), "v2": tensors(V2, V2_PATH), "pass": passing}


@click.command()
@click.option("--lane", type=click.Choice(list(LANES)), default="v1", show_default=True)
@click.option("--connections", default=64, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=10.0, show_default=True, type=click.FloatRange(1))
@click.option("--routers", type=click.IntRange(1, 64), show_default="as many as cores")
@click.option("--out", type=click.Path(path_type=Path), default=Path("profile.svg"), show_default=True)
def main(lane: str, connections: int, seconds: float, routers: int | None, out: Path) -> None:
    """Profile the routers under load."""
    if not wrk.installed():
        raise click.ClickException(wrk.MISSING)
    if stacks.py_spy() is None:
        raise click.ClickException(stacks.MISSING)
    if lane == "pass" and proxies.installed() is None:
        raise click.ClickException(proxies.MISSING)
    routers = routers or cores()
    with workshop(routers) as shop, ExitStack() as stack:
        installation, contender = LANES[lane](shop, stack)
        check(contender)
        sample = wrk.measure(contender, connections, seconds)
        found = sampled(installation, contender, connections, seconds, shop.folder)
    cost = sample.cpu_us["router"]
    title = (
        f"{contender.title}, {routers} routers, {connections} connections:"
        f" {cost:.0f} µs of router CPU a request"
    )
    out.write_text(flame(stacks.merged(found, ROOT), title))
    screen = Console(width=None if sys.stdout.isatty() else 120)
    screen.print(table(title, "room", stacks.rooms(found, ROOT), cost))
    screen.print(table("Functions by their own time", "function", stacks.functions(found, ROOT), cost))
    screen.print(f"{sample.rps:,.0f} requests/s before sampling; flame graph in {out}")


def sampled(
    installation: Installation, contender: Contender, connections: int, seconds: float, folder: Path
) -> Counter[stacks.Stack]:
    """Stacks of all routers while the load runs; raises RuntimeError with what py-spy said."""
    targets = {pid: folder / f"raw-{pid}" for pid in installation.router_pids()}
    running = {pid: stacks.start(pid, seconds, target) for pid, target in targets.items()}
    wrk.load(contender, connections, seconds + 1)
    wait_for(lambda: all(one.poll() is not None for one in running.values()), 30)
    found: Counter[stacks.Stack] = Counter()
    for pid, one in running.items():
        output, _ = one.communicate()
        if one.returncode or not targets[pid].exists():
            raise RuntimeError(
                f"py-spy failed (it needs ptrace: root, or kernel.yama.ptrace_scope=0): {output}"
            )
        found += stacks.read(targets[pid].read_text())
    return found


def table(title: str, what: str, counts: Counter[str], cost: float) -> Table:
    """Shares of the samples, and of `cost` µs."""
    whole = stacks.total(counts.values())
    made = Table(what, "samples", "share", "µs a request", title=title)
    for name, count in counts.most_common(SHOWN):
        made.add_row(name, str(count), f"{count / whole:.1%}", f"{cost * count / whole:.1f}")
    return made


if __name__ == "__main__":
    main()
