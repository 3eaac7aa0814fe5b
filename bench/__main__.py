"""python -m bench [NAME…]: run all benchmarks, or some, and write their tables into bench/README.md."""

import importlib
import sys

from bench import table

NAMES = ("latency", "fires", "verbs", "others", "listing", "dashboard", "herd", "agent", "queue", "idle", "calendars",
         "crontab", "overhead", "ledger", "cluster")


def main(names: list[str]) -> None:
    if unknown := set(names) - set(NAMES):
        sys.exit(f"There is no benchmark {', '.join(sorted(unknown))}. There are: {', '.join(NAMES)}.")
    modules = {name: importlib.import_module(f"bench.{name}") for name in NAMES}
    for name in names or NAMES:
        title = modules[name].TITLE
        print(f"{title}:", flush=True)
        rows = []
        for row in modules[name].rows():
            rows.append(row)
            print(f"  {row}", flush=True)
        table.write(title, rows, [module.TITLE for module in modules.values()])


if __name__ == "__main__":
    main(sys.argv[1:])
