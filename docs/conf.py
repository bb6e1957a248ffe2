"""Sphinx: everything from this repository, nothing from the network."""

import inspect
import sys
from pathlib import Path

import skinfluence

HERE = Path(__file__).parent
sys.path += [str(HERE / "_ext"), str(HERE.parent / "benchmarks")]

project = "skinfluence"
author = "skinfluence developers"
copyright = "2026, skinfluence developers"
release = skinfluence.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "change_fragments",
    "offline",
    "peers_tables",
]
exclude_patterns = ["changes/*", "tables/*", "_build"]
templates_path = ["_templates"]
nitpicky = True
nitpick_ignore = [("py:class", "sklearn.exceptions.NotFittedError")]
# A bare literal block is a formula or a shape; Python is marked as such, and tested.
highlight_language = "none"

# --- the pages of the public names ---


def own_methods(fullname):
    """Public methods that the package wrote itself, not those of scikit-learn."""
    cls = getattr(skinfluence, fullname.rpartition(".")[2])
    return [
        name
        for name, value in inspect.getmembers(cls, callable)
        if not name.startswith("_")
        and (inspect.unwrap(value).__module__ or "").startswith("skinfluence")
    ]


def own_properties(fullname):
    """Properties with a docstring of their own."""
    cls = getattr(skinfluence, fullname.rpartition(".")[2])
    return [
        name
        for name, value in inspect.getmembers(cls, lambda v: isinstance(v, property))
        if not name.startswith("_")
        and (value.fget.__module__ or "").startswith("skinfl")
    ]


autosummary_context = {
    "own_methods": own_methods,
    "own_properties": own_properties,
}
suppress_warnings = ["config.cache"]  # of these two functions, which cannot be cached
autodoc_typehints = "none"
autodoc_docstring_signature = True
numpydoc_show_class_members = False
numpydoc_validation_checks = {"GL06", "GL07", "PR01", "PR02", "RT01", "SS01"}
# Methods of a contract are a line and shapes each.
numpydoc_validation_exclude = {
    r"\.exceptions\.",
    r"\.(losses|preprocessing)\.Abstract\w+\.",
}
numpydoc_use_plots = False

# --- the gallery ---

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"write_demo_data\.py$",
    "within_subsection_order": "gallery_order.StartFirst",
    "doc_module": ("skinfluence",),
    "backreferences_dir": "generated/backreferences",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "capture_repr": (),
    "min_reported_time": 1e9,
    "write_computation_times": False,
}

# --- how it looks ---

html_theme = "pydata_sphinx_theme"
html_title = "skinfluence"
html_static_path = ["_static"]
html_css_files = ["skinfluence.css"]
html_sidebars = {"start": [], "changelog": []}
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
