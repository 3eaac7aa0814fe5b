"""The stylesheet, the script and the icon of the pages. Their addresses change with their content."""

import functools
import hashlib
from importlib import resources

import bottle

from ...errors import OscronError

TYPES = {"style.css": "text/css; charset=utf-8", "dashboard.js": "text/javascript; charset=utf-8",
         "icon.svg": "image/svg+xml"}
YEAR_S = 365 * 24 * 3600


class NoSuchAsset(OscronError):
    """There is no file with that name."""

    status = 404


@functools.cache
def content(name: str) -> bytes:
    """Return the content of the file `name`. Raises NoSuchAsset."""
    if name not in TYPES:
        raise NoSuchAsset("There is no such page.")
    return resources.files(__package__).joinpath("assets", name).read_bytes()


@functools.cache
def url(name: str) -> str:
    """Return the address of the file `name`, which a browser may keep."""
    return f"/assets/{name}?v={hashlib.sha256(content(name)).hexdigest()[:12]}"


def respond(name: str) -> bytes:
    """Set the headers of the response for the file `name`, and return its content. Raises NoSuchAsset."""
    found = content(name)
    bottle.response.content_type = TYPES[name]
    bottle.response.set_header("Cache-Control", f"public, max-age={YEAR_S}, immutable")
    bottle.response.set_header("X-Content-Type-Options", "nosniff")
    return found
