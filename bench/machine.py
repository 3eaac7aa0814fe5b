"""A booted machine with hermes-oscron installed for root, for as long as a benchmark takes."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.machine.box import Box
from tests.machine.sites import Site, free_port


@contextmanager
def installed(kind: type[Site] = Site) -> Iterator[Site]:
    """An installation of KIND; the machine is gone at the end."""
    box = Box()
    try:
        box.boot()
        site = kind(box, "root", free_port())
        site.install()
        yield site
    finally:
        box.close()
