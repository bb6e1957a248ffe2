"""Warns, after a build, of anything that a page would load from the network."""

import re
from pathlib import Path

from sphinx.util import logging

logger = logging.getLogger(__name__)

# What a browser fetches by itself; links that a reader may follow are none of it.
FETCHED = {
    "*.html": re.compile(
        r"<(?:script|img|iframe|source|link)\b[^>]*\b(?:src|href)=\"((?:https?:)?//[^\"]+)"
    ),
    "*.css": re.compile(r"(?:@import\s+|url\()[\"']?((?:https?:)?//[^\"')\s;]+)"),
}


def fetched(folder):
    """Pairs of a file and an address that it would load."""
    for pattern, address in FETCHED.items():
        for path in sorted(Path(folder).rglob(pattern)):
            for found in address.findall(path.read_text(encoding="utf-8")):
                yield path.relative_to(folder), found


def check(app, error):
    if error is None and app.builder.format == "html":
        for path, address in fetched(app.outdir):
            logger.warning("%s loads %s", path, address)


def setup(app):
    app.connect("build-finished", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
