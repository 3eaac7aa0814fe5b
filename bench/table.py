"""The rows that benchmarks measure, and their tables in bench/README.md."""

import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- written by python -m bench -->\n", "<!-- end -->\n"
HEADING = "### "


class Row(NamedTuple):
    """The name of a measurement, its median, the same of something that was measured beside it, and the target."""

    what: str
    ours: str
    beside: str = ""
    target: str = ""

    def __str__(self) -> str:
        return "; ".join(filter(None, (f"{self.what}: {self.ours}", self.beside,
                                       self.target and f"target {self.target}")))


def per_size(values: Iterable[float], unit: str) -> str:
    """Return `values` of several sizes as one text."""
    return f"{' / '.join(f'{value:,.0f}' for value in values)} {unit}"


def write(title: str, rows: Sequence[Row], titles: Sequence[str]) -> None:
    """Write the table of `rows` under `title` into the README, in the order of `titles`, and drop all other tables."""
    text = README.read_text()
    before, _, rest = text.partition(BEGIN)
    written, _, after = rest.partition(END)
    tables = {table.partition("\n")[0]: table for table in written.split(HEADING)[1:]}
    tables[title] = _table(title, rows)
    kept = "".join(f"{HEADING}{tables[each]}" for each in titles if each in tables)
    README.write_text(f"{before}{BEGIN}\n{kept}{END}{after}")


def _table(title: str, rows: Sequence[Row]) -> str:
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in rows]
    head = "| what | hermes-oscron | beside it | target |\n|---|---|---|---|\n"
    return f"{title}\n\n{_circumstances()}\n\n{head}{''.join(lines)}\n"


def _circumstances() -> str:
    """Return the commit and the machine of a measurement."""
    cpu = Path("/proc/cpuinfo").read_text()
    cores = len(re.findall(r"^processor", cpu, re.M))
    return (f"Commit {_said('git', 'rev-parse', '--short', 'HEAD')}; {cores} cores, {platform.machine()}; "
            f"Linux {platform.release()}, systemd {_said('systemctl', '--version').split()[1]}, "
            f"Python {platform.python_version()}.")


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=README.parent).stdout.strip()
