"""From the due second to the child's first instruction: our timers with our runner, beside a bare systemd timer."""

import datetime
import statistics
import time

from bench.machine import installed
from tests.conftest import wait_for

ROUNDS = 15
STAMP = "/var/lib/stamps"


def main() -> None:
    with installed() as site:
        box = site.box
        box.run(f"mkdir -m 777 {STAMP}; printf '#!/bin/sh\\ndate +%%s.%%N >>{STAMP}/bare\\n' >/root/bare.sh; "
                f"chmod +x /root/bare.sh")
        for _ in range(ROUNDS):
            due = datetime.datetime.now(datetime.UTC).replace(microsecond=0) + datetime.timedelta(seconds=3)
            site.create(f"date +%s.%N >>{STAMP}/ours", schedule=due.isoformat())
            box.run(f"echo {due.timestamp()} >>{STAMP}/due")
            wait_for(lambda due=due: time.time() > due.timestamp() + 1.5)
            bare_due = datetime.datetime.now(datetime.UTC).replace(microsecond=0) + datetime.timedelta(seconds=3)
            box.run(f"echo {bare_due.timestamp()} >>{STAMP}/bare-due; "
                    f"systemd-run --quiet --timer-property=AccuracySec=1us "
                    f"--on-calendar='{bare_due:%Y-%m-%d %H:%M:%S} UTC' /root/bare.sh")
            wait_for(lambda due=bare_due: time.time() > due.timestamp() + 1)

        def stamps(name: str) -> list[float]:
            return [float(line) for line in box.run(f"cat {STAMP}/{name}").stdout.split()]

        ours = [1000 * (at - due) for at, due in zip(stamps("ours"), stamps("due"), strict=True)]
        bare = [1000 * (at - due) for at, due in zip(stamps("bare"), stamps("bare-due"), strict=True)]
        for name, late in (("hermes-job@ timer, runner, script", ours), ("bare timer, script", bare)):
            print(f"{name:<36} median {statistics.median(late):6.1f} ms   worst {max(late):6.1f} ms")
        print(f"ratio of medians {statistics.median(ours) / statistics.median(bare):.1f}")


if __name__ == "__main__":
    main()
