"""The Python of README.md and of the pages under docs/ runs, in the order of the page."""

import ast
import doctest
import os
import re
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest

import skinfluence
from skinfluence import exceptions, losses, preprocessing

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.rst"))]

# Shown, and not shown: ``testsetup`` and a comment of HTML say what a page takes as given.
RST = re.compile(
    r"^\.\. (?:code-block:: python|testsetup::)\n\n?((?:[ ]{3,}.*\n|\n)+)", re.MULTILINE
)
MARKDOWN = re.compile(r"^(?:```python|<!-- python)\n(.*?)^(?:```|-->)$", re.M | re.S)
BARE = re.compile(r"^(?!\.\. ).*::\n\n((?:[ ]{3,}.*\n|\n)+)", re.MULTILINE)
OPTIONAL = ("cupy", "dask", "jinja2", "matplotlib", "pandas", "skops", "torch")


def blocks(page):
    pattern = MARKDOWN if page.suffix == ".md" else RST
    found = pattern.findall(page.read_text(encoding="utf-8"))
    return [textwrap.dedent(block) for block in found]


def source(block):
    """The statements of a block, without the prompts of a session."""
    if ">>>" not in block:
        return block
    return doctest.script_from_examples(block)


def needed(block):
    """Optional libraries that a block uses."""
    nodes = list(ast.walk(ast.parse(source(block))))
    names = {node.name for node in nodes if isinstance(node, ast.alias)}
    modules = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    used = {name.split(".")[0] for name in names | modules}
    used |= {"matplotlib"} if any(name.endswith("Display") for name in names) else set()
    used |= {"jinja2", "matplotlib"} if "InfluenceReport" in names else set()
    used |= {"pandas"} if "as_frame=True" in block else set()
    return used & set(OPTIONAL)


def run(block, names):
    if ">>>" not in block:
        exec(compile(block, "<page>", "exec"), names)
        return
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    test = doctest.DocTestParser().get_doctest(block, names, "page", None, None)
    told = []
    doctest.DocTestRunner(optionflags=flags).run(
        test, out=told.append, clear_globs=False
    )
    names.update(test.globs)
    assert not told, "".join(told)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name
)
def test_python_of_a_page_runs(page, tmp_path, monkeypatch):
    absent = {
        name for block in blocks(page) for name in needed(block) if not find_spec(name)
    }
    if absent:
        pytest.skip(f"needs {', '.join(sorted(absent))}")
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    for block in blocks(page):
        run(block, names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_python_hides_in_a_bare_block(page):
    """A literal block is not run; Python belongs into ``code-block:: python``."""
    text = page.read_text(encoding="utf-8")
    for block in BARE.findall(text) if page.suffix == ".rst" else []:
        assert not re.search(
            r"^\s*(import|from|>>>)\s|[Ee]xplainer|Display\.", block, re.M
        ), block


# --- the reference, and links that Sphinx does not see ---


def test_the_reference_lists_every_public_name():
    listed = re.findall(r"^   (\w+)$", (DOCS / "api.rst").read_text(), re.MULTILINE)
    public = [*skinfluence.__all__, *exceptions.__all__, *losses.__all__]
    public += preprocessing.__all__
    assert sorted(listed) == sorted(public)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_of_markdown_lead_somewhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert links and not [link for link in links if not os.path.exists(ROOT / link)]
