"""Pages: templates filled with values, and the headers that keep a page to itself."""

import os
import threading
from typing import Any, NamedTuple

import bottle

from . import assets

VIEWS = os.path.join(os.path.dirname(__file__), "views")
POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
"""No page loads, sends or runs anything that is not of this server (Content Security Policy, level 3)."""
RAW_POLICY = "default-src 'none'; sandbox; frame-ancestors 'none'"
FORM_TOKEN = "oscron.form_token"
"""The key in the environment of a request under which the token of its forms is kept."""

STALE_FORM = "oscron.stale_form"
"""The same for the error of a form whose token is not valid, if the page shows the form again."""

_templates: dict[str, bottle.SimpleTemplate] = {}
_compiling = threading.Lock()


class Page(NamedTuple):
    """The answer to a browser."""

    body: bytes
    status: int = 200
    content_type: str = "text/html; charset=utf-8"
    policy: str = POLICY
    location: str = ""


def render(name: str, status: int = 200, **values: Any) -> Page:
    """Return the template `name` filled with `values`."""
    with _compiling:
        template = _templates.get(name)
        if template is None:
            template = _templates[name] = bottle.SimpleTemplate(name=f"{name}.tpl", lookup=[VIEWS])
    text = template.render(asset=assets.url, form_token=bottle.request.environ.get(FORM_TOKEN, ""), **values)
    return Page(text.encode("utf-8", "replace"), status)


def raw(text: str) -> Page:
    """Return `text` as it is, as a page that can do nothing."""
    return Page(text.encode("utf-8", "replace"), content_type="text/plain; charset=utf-8", policy=RAW_POLICY)


def redirect(location: str) -> Page:
    """Return the page that leads to `location`, an address of this server."""
    return Page(b"", 303, location=location)


def respond(page: Page) -> bytes:
    """Set the status and the headers of the response for `page`, and return its body."""
    response = bottle.response
    response.status = page.status
    response.content_type = page.content_type
    for header, value in (("Cache-Control", "no-store"), ("Content-Security-Policy", page.policy),
                          ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "same-origin"),
                          ("Location", page.location)):
        if value:
            response.set_header(header, value)
    return page.body


def local_path(given: str | None) -> str:
    """Return `given` if it is an address of this server, else that of the overview."""
    is_local = given and given.startswith("/") and not given.startswith("//") and given.isprintable()
    return str(given) if is_local and "\\" not in str(given) else "/"
