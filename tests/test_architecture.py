"""What no layer may do, and what every public name has to say."""

import ast
import configparser
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import skinfluence
from skinfluence import exceptions

PACKAGE = Path(skinfluence.__file__).parent
OPTIONAL = ["pandas", "matplotlib", "dask", "cupy", "torch", "pyarrow", "jinja2"]
SOURCES = sorted(PACKAGE.rglob("*.py"))


def path_of(source):
    return str(source.relative_to(PACKAGE))


def loaded_by(statement):
    """Names of all modules that a fresh interpreter holds after a statement."""
    program = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_loads_no_optional_library():
    before = loaded_by("import sklearn.linear_model, sklearn.pipeline")
    assert not (loaded_by("import skinfluence") - before) & set(OPTIONAL)


def imported_names(source):
    """Dotted names of all imports of a module, those inside functions too."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{name.name}" for name in node.names)


@pytest.mark.parametrize("source", SOURCES, ids=path_of)
def test_nothing_private_of_other_libraries_is_imported(source):
    others = [
        name
        for name in imported_names(source)
        if name.split(".")[0] in ("sklearn", "scipy", "numpy", "array_api_compat")
    ]
    assert not [name for name in others if re.search(r"\._(?!_)", name)]


@pytest.mark.parametrize("source", SOURCES, ids=path_of)
def test_tests_are_not_imported_by_the_package(source):
    names = {name.split(".")[0] for name in imported_names(source)}
    assert not names & {"pytest", "tests", "cases", "reference"}


# --- what is public says what it does ---

NAMES = sorted(skinfluence.__all__)


def public_methods(cls):
    """Methods of objects and of the class that the package itself wrote."""
    for name, value in inspect.getmembers(cls):
        home = getattr(inspect.unwrap(value), "__module__", "") or ""
        if not name.startswith("_") and home.startswith("skinfluence"):
            if inspect.isfunction(value) or inspect.ismethod(value):
                yield name, value


PUBLIC = {name: getattr(skinfluence, name) for name in NAMES}
PUBLIC |= {
    f"{name}.{method}": function
    for name, value in PUBLIC.items()
    if inspect.isclass(value)
    for method, function in public_methods(value)
}
every_public = pytest.mark.parametrize("value", PUBLIC.values(), ids=PUBLIC)


def sections(value):
    """Sections of a numpydoc docstring by their titles."""
    text = inspect.getdoc(value)
    assert text, "there is no docstring"
    parts = re.split(r"^(\w[\w ]*)\n-{3,}$", text, flags=re.MULTILINE)
    assert len(set(parts[1::2])) == len(parts[1::2]), "a section stands there twice"
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def parameters(value):
    found = inspect.signature(value).parameters
    return [name for name in found if name != "self"]


@every_public
def test_every_parameter_is_described_and_no_other(value):
    names = parameters(value)
    described = re.findall(
        r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: :.*)?$",
        sections(value).get("Parameters", ""),
        flags=re.MULTILINE,
    )
    flat = [name.strip(" *") for line in described for name in line.split(",")]
    assert sorted(flat) == sorted(names)


@every_public
def test_what_comes_back_is_described(value):
    title = "Attributes" if inspect.isclass(value) else "Returns"
    assert title in sections(value)


@every_public
def test_the_first_line_is_a_sentence_of_its_own(value):
    first, *rest = sections(value)[""].strip().split("\n")
    assert first.endswith((".", "?"))
    assert not rest or not rest[0].strip()


@every_public
def test_every_public_name_and_method_shows_an_example(value):
    """It is run with the tests: doctests are collected."""
    assert ">>>" in sections(value).get("Examples", "")


def test_promised_names_are_all_there_is():
    shown = {name for name in dir(skinfluence) if not name.startswith("_")}
    modules = {name for name in shown if inspect.ismodule(getattr(skinfluence, name))}
    assert shown - modules == set(NAMES)


# --- errors ---

ERRORS = [getattr(exceptions, name) for name in exceptions.__all__]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_errors_derive_from_ours_and_from_a_built_in_one(error):
    """So that ``except ValueError`` works as it does with scikit-learn."""
    ours = {exceptions.SkinfluenceError, exceptions.SkinfluenceWarning}
    assert set(error.__mro__) & ours
    built_in = {base for base in error.__mro__ if base.__module__ == "builtins"}
    assert error in ours or built_in - {Exception, BaseException, object}


def test_no_error_is_hidden():
    classes = [
        name
        for name, value in vars(exceptions).items()
        if inspect.isclass(value) and value.__module__ == exceptions.__name__
    ]
    assert sorted(classes) == sorted(exceptions.__all__)


def test_the_page_on_architecture_names_the_layers_in_their_order():
    config = configparser.ConfigParser()
    root = Path(skinfluence.__file__).parents[1]
    if not (root / "setup.cfg").is_file():
        pytest.skip("not run from a checkout")
    config.read(root / "setup.cfg", encoding="utf-8")
    layers = config["importlinter:contract:layers"]["layers"].split("\n")
    layers = [{name.strip() for name in layer.split("|")} for layer in layers if layer]
    page = (root / "docs" / "architecture.rst").read_text(encoding="utf-8")
    table = page[page.index("   * - module") : page.index("A further contract")]
    rows = [line for line in table.splitlines() if line.startswith("   * - ``")]
    named = [set(re.findall(r"``(\w+)``", row)) for row in rows]
    assert named == layers
