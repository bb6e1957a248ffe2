"""``.. change-fragments::`` gathers docs/changes/ under one heading per kind."""

import re
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

# The order and the kinds of docs/changes/README.rst.
KINDS = {
    "breaking": "Breaking changes",
    "feature": "New features",
    "fix": "Fixes",
    "performance": "Performance",
    "docs": "Documentation",
    "maintenance": "Packaging",
}
NAME = re.compile(r"(\d+)\.(\w+)(?:\.\w+)?\.rst")


class ChangeFragments(Directive):
    """Bullet lists of all fragments, by kind and then by number."""

    def run(self):
        env = self.state.document.settings.env
        folder = Path(env.srcdir) / "changes"
        env.note_dependency(str(folder))
        found = {kind: [] for kind in KINDS}
        for path in sorted(folder.glob("*.rst")):
            if path.name == "README.rst":
                continue
            parts = NAME.fullmatch(path.name)
            if not parts or parts[2] not in KINDS:
                raise self.error(f"docs/changes/{path.name}: see the README.rst there")
            env.note_dependency(str(path))
            found[parts[2]].append((int(parts[1]), path))
        return [
            node
            for kind, fragments in found.items()
            if fragments
            for node in self.part(KINDS[kind], fragments)
        ]

    def part(self, title, fragments):
        items = nodes.bullet_list()
        for _, path in sorted(fragments):
            item = nodes.list_item()
            lines = path.read_text(encoding="utf-8").splitlines()
            self.state.nested_parse(StringList(lines, str(path)), 0, item)
            items += item
        return [nodes.rubric("", title), items]


def setup(app):
    app.add_directive("change-fragments", ChangeFragments)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
