"""``.. peers-tables:: FILE`` shows the tables that benchmarks/peers.py measured."""

import json
import re
from pathlib import Path

import peers  # benchmarks/peers.py
from sphinx.util.docutils import SphinxDirective


class PeersTables(SphinxDirective):
    """A section for each contest, and one for where skinfluence takes longer."""

    required_arguments = 1

    def run(self):
        path = Path(self.env.srcdir, self.arguments[0]).resolve()
        self.env.note_dependency(str(path))
        record = json.loads(path.read_text(encoding="utf-8"))
        return self.parse_text_to_nodes(
            restructured(record), allow_section_headings=True
        )


def restructured(record):
    """The record of a run as reStructuredText."""
    parts = [peers.conditions(record), *map(contest, record["contests"])]
    lost = "\n".join(f"* {literal(each)}." for each in peers.losses(record["contests"]))
    return "\n\n".join([*parts, heading(peers.LOSSES), lost])


def contest(record):
    """Heading, table and notes of one contest."""
    title, rows, notes = peers.table(record)
    cells = [
        f"   {' ' if column else '*'} - {literal(cell)}"
        for row in rows
        for column, cell in enumerate(row)
    ]
    table = "\n".join([".. list-table::", "   :header-rows: 1", "", *cells])
    lines = "\n".join(f"| {literal(note)}" for note in notes)
    return "\n\n".join([heading(title), table, lines])


def heading(title):
    return f"{title}\n{'~' * len(title)}"


def literal(text):
    """Escape what reStructuredText or its typographic quotes would change."""
    return re.sub(r"""([\\*`|_"'])""", r"\\\1", text)


def setup(app):
    app.add_directive("peers-tables", PeersTables)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
