"""Short tries of BentoML's public set-ups to find its fastest; the choice is written into bentos.py by hand."""

from __future__ import annotations

from contextlib import ExitStack

from rich.table import Table

from loadtests.bench import bentos
from loadtests.bench.bodies import BATCHED, BENTO
from loadtests.bench.checking import check
from loadtests.bench.run import Told
from loadtests.bench.workshop import Workshop, direct
from loadtests.bench.wrk import Unclean, measure


def tune(shop: Workshop, seconds: float, told: Told, connections: tuple[int, ...] = (1, 64)) -> Table:
    """One load of each set-up at each number of connections."""
    table = Table("set-up", *(f"requests/s, p50 ms at {number}" for number in connections))
    payload = shop.rows(1)
    for setup in (bentos.DEFAULTS, *bentos.TRIED):
        with ExitStack() as stack:
            server = shop.server(stack, setup)
            form = BATCHED if setup.route == "/batched" else BENTO
            workers = "defaults" if setup.quiet is None else f"quiet, workers {setup.quiet}"
            contender = direct(
                server, "x", f"{setup.service}{setup.route}, {workers}", shop.bodies(form, payload)
            )
            told(contender.title)
            check(contender)
            found = []
            for number in connections:
                try:
                    sample = measure(contender, number, seconds)
                    found.append(f"{sample.rps:,.0f}, {sample.p50_ms:.2f}")
                except Unclean as error:
                    found.append(str(error))
            told(f"{contender.title}: {found}")
            table.add_row(contender.title, *found)
    return table
