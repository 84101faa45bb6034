"""`make prove`: the guarantees of the main job on real processes, at full size or `--small`; prints a table.

Each proof starts an installation of its own on loopback, is bounded in requests and time, and ends what it
started. Exit status 1 when one fails.
"""

from __future__ import annotations

import sys
import time
import traceback
from pathlib import Path

import click
import orjson
from rich.console import Console
from rich.table import Table

from loadtests.guarantees import PROOFS
from loadtests.proofs.figures import Figures, Skipped


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(sorted(PROOFS)))
@click.option("--small", is_flag=True, help="The size CI runs.")
@click.option("--out", type=click.Path(path_type=Path), help="Also write the table to this file.")
@click.option(
    "--json", "told_to", type=click.Path(path_type=Path), help="Also write results and figures there."
)
def main(names: tuple[str, ...], small: bool, out: Path | None, told_to: Path | None) -> None:
    """Prove NAMES, or everything."""
    found: dict[str, dict[str, object]] = {}
    table = Table("proof", "result", "figures", title="Guarantees of the main job")
    failed = False
    for name in names or tuple(PROOFS):
        began = time.monotonic()
        print(f"{name} …", file=sys.stderr, flush=True)
        try:
            figures: Figures = PROOFS[name](small)
            result = "holds"
        except Skipped as why:
            figures, result = {"because": str(why)}, "skipped"
        except Exception:
            traceback.print_exc()
            figures, result, failed = {}, "FAILED", True
        found[name] = {"result": result, "figures": figures}
        told = ", ".join(f"{key}: {value}" for key, value in figures.items())
        table.add_row(f"{name} ({time.monotonic() - began:.0f} s)", result, told)
    Console().print(table)
    if out is not None:
        with out.open("w") as stream:
            Console(file=stream, width=100).print(table)
    if told_to is not None:
        told_to.write_bytes(orjson.dumps(found))
    sys.exit(failed)


if __name__ == "__main__":
    main()
