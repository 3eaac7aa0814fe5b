"""Tables: fitted to a terminal, with colours there, and whole in a pipe."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from .render import one_line

NO_LIMIT = 100_000
"""The width of a table whose cells are not cut."""


class Cell(NamedTuple):
    """A text, and the style of rich in which a terminal shows it."""

    text: str
    style: str = ""


def print_table(headings: Sequence[str], rows: Iterable[Sequence[Cell | str]], least: Mapping[str, int],
                whole: bool = False) -> None:
    """Print `rows` under `headings`; all cells are made printable.

    Each column gets the width that it needs. If that is too much for the terminal, those in `least` are cut, in that
    order, each down to the width that it has there. A `whole` table is not cut.
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = [[Cell(one_line(cell.text), cell.style) if isinstance(cell, Cell) else Cell(one_line(cell)) for cell in row]
             for row in rows]
    console = Console(highlight=False, width=NO_LIMIT if whole else None if sys.stdout.isatty() else columns())
    widths = {heading: max(map(cell_len, (heading, *(row[i].text for row in shown))))
              for i, heading in enumerate(headings)}
    for heading, width in least.items():
        if heading in widths:
            excess = sum(widths.values()) + 2 * (len(widths) - 1) - console.width
            widths[heading] = min(widths[heading], max(widths[heading] - max(excess, 0), width))
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading, width in widths.items():
        table.add_column(heading, no_wrap=True, overflow="ellipsis", max_width=width)
    for row in shown:
        table.add_row(*(Text(cell.text, cell.style, overflow="ellipsis", no_wrap=True) for cell in row))
    console.print(table)


def columns() -> int:
    """Return the width of a table that does not go to a terminal: that of `$COLUMNS`, if it is set."""
    given = os.environ.get("COLUMNS", "")
    return int(given) if given.isdecimal() and len(given) < 6 else NO_LIMIT


def fitted(line: str) -> str:
    """Return `line` cut to the width of the terminal, or of `columns` without one; wide characters count twice."""
    from rich.cells import cell_len, set_cell_size

    width = os.get_terminal_size(1).columns if os.isatty(1) and not os.environ.get("COLUMNS") else columns()
    return line if cell_len(line) <= width else set_cell_size(line, width - 1).rstrip() + "…"
