"""The OpenAPI document: `openapi.json`, completed with the table of job fields and with the ETag of every GET."""

import functools
import json
from importlib import resources

from ..jobs.fields import FIELDS
from .responses import Encoded

WITH_JOB_FIELDS = ("NewPrompt", "NewScript", "Changes")
"""Schemas that accept every field; `openapi.json` has only the ones that differ there."""


@functools.cache
def document() -> Encoded:
    """Return the document as JSON."""
    content = json.loads(resources.files(__package__).joinpath("openapi.json").read_bytes())
    schemas = content["components"]["schemas"]
    for name in WITH_JOB_FIELDS:
        common = {field.name: field.type.schema for field in FIELDS.values() if name != "Changes" or not field.only_new}
        schemas[name]["properties"] = common | schemas[name]["properties"]
    for operation in (each["get"] for each in content["paths"].values() if "get" in each):
        operation["responses"]["304"] = {"description": "If-None-Match has the ETag of the answer, or is '*'."}
        for status in ("200", "304"):
            operation["responses"][status].setdefault("headers", {})["ETag"] = {"$ref": "#/components/headers/ETag"}
    return Encoded(json.dumps(content, indent=1).encode())
