"""The OpenAPI document: `openapi.json`, completed with the table of job fields."""

import functools
import json
from importlib import resources

from ..jobs.fields import FIELDS

WITH_JOB_FIELDS = ("NewPrompt", "NewScript", "Changes")
"""Schemas that accept every field; `openapi.json` has only the ones that differ there."""


@functools.cache
def document() -> bytes:
    """Return the document as JSON."""
    content = json.loads(resources.files(__package__).joinpath("openapi.json").read_bytes())
    schemas = content["components"]["schemas"]
    for name in WITH_JOB_FIELDS:
        common = {field.name: field.type.schema for field in FIELDS.values() if name != "Changes" or not field.only_new}
        schemas[name]["properties"] = common | schemas[name]["properties"]
    return json.dumps(content, indent=1).encode()
