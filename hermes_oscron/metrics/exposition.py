"""The metrics as text, for a scrape or as the file that the node exporter of Prometheus reads."""

import contextlib
import glob
import os
import time

from ..files import STALE_TEMP_AGE_S, mtime, write_atomic

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def text(root: str) -> bytes:
    """Return the metrics of `root` in the text format of Prometheus."""
    from prometheus_client import CollectorRegistry, generate_latest  # 60 ms

    from .families import families

    class Collector:
        def collect(self):  # type: ignore[no-untyped-def]
            return families(root)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector())
    return bytes(generate_latest(registry))


def write_textfile(root: str, path: str) -> None:
    """Replace the file at `path` by the metrics of `root`; a reader has the old ones or the new. Raises OSError.

    The exporter ignores the temporary files of writers that were killed; they are removed after an hour.
    """
    write_atomic(path, text(root), 0o644)
    folder, name = os.path.split(path)
    for left in glob.glob(f"{glob.escape(folder)}/.{glob.escape(name)}.*.tmp"):
        if (mtime(left) or 0.0) < time.time() - STALE_TEMP_AGE_S:
            with contextlib.suppress(OSError):
                os.unlink(left)
