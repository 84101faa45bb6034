"""Tables for people, never wider than the terminal or 80 columns; decides nothing."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

WIDTH = 80


def show_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """A titled table on stdout; columns ending in `#` hold numbers; a text too long for its cell is folded."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold", expand=False)
    for column in columns:
        number = column.endswith("#")
        table.add_column(column.removesuffix("#"), overflow="fold", justify="right" if number else "left")
    count = 0
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
        count += 1
    console = Console(file=sys.stdout, highlight=False, markup=False, soft_wrap=False)
    console.width = min(console.width, WIDTH)
    console.print(title, style="bold")
    console.print(table if count else "  none")


def show_text(text: str) -> None:
    """A sentence on stdout, folded where a table would be."""
    width = min(shutil.get_terminal_size().columns, WIDTH)
    print("\n".join(textwrap.wrap(text, width, subsequent_indent="  ", replace_whitespace=False) or [""]))
