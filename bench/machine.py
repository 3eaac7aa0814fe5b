"""A booted machine with hermes-oscron installed for an account, for as long as a benchmark takes."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.machine.box import Box
from tests.machine.sites import Site, SystemSite, add_account, free_port

ACCOUNT = "hermes"


@contextmanager
def installed(kind: type[Site] = SystemSite) -> Iterator[Site]:
    """Yield an installation of `kind`, and remove the machine at the end."""
    box = Box()
    try:
        box.boot()
        if kind is not SystemSite:  # install.sh makes the account
            add_account(box, ACCOUNT)
        site = kind(box, ACCOUNT, free_port())
        site.install()
        yield site
    finally:
        box.close()
