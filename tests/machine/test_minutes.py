"""Tests that take minutes: minutely jobs, a run longer than its period, a server without clients."""

import re
import time
from itertools import pairwise

from tests.machine.sites import Site


def starts_of(site: Site, job_id: str) -> list[float]:
    """Return when the runs of `job_id` began, as they wrote it themselves, oldest first."""
    outputs = site.api.get(f"/api/crons/output?job_id={job_id}&limit=500")["outputs"]
    return sorted(float(stamp) for each in outputs for stamp in re.findall(r"^\d+\.\d+$", each["content"], re.M))


def test_minutely_jobs_run_every_minute_without_a_call_of_the_api(sites: dict[str, Site]) -> None:
    """One minutely job, one that takes longer than its minute, and no call of the API in between."""
    time.sleep(61 - time.time() % 60)
    both = list(sites.values())
    every = {site: site.create("date +%s.%N", schedule="* * * * *")["id"] for site in both}
    slow = {site: site.create("date +%s.%N; sleep 75", schedule="* * * * *")["id"] for site in both}
    begun = time.time()
    time.sleep(215 - (time.time() - begun))
    for site in both:
        assert site.systemctl("show -P ActiveState hermes-oscron.service").strip() == "inactive", "it leaves when idle"
    for site in both:
        starts = starts_of(site, every[site])
        assert len(starts) == 3
        assert all(start % 60 < 1 for start in starts), "on the second"
        slow_starts = starts_of(site, slow[site])
        assert slow_starts and all(start % 60 < 1 for start in slow_starts), "a fire during a run is not made up for"
        gaps = [b - a for a, b in pairwise(slow_starts)]
        assert all(gap > 75 for gap in gaps), "never two at once"
        assert "Skipped" in site.journal(slow[site])
        site.clear()
