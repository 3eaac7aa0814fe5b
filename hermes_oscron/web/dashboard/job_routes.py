"""The routes of one job: its page, its outputs and log, the actions on it, and the forms that create and change it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .routes import Dashboard, Handler


def routes(dashboard: "Dashboard") -> "list[tuple[str, str, Handler]]":
    """Return method, path and handler of each page."""
    return []
