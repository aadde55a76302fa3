"""Sphinx's settings for the book. Nothing in the site is fetched from elsewhere."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import fpgmlab

project = "fpgmlab"
author = "the authors of fpgmlab"
release = version = fpgmlab.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "book.making.mathml",
    "book.making.names",
]
root_doc = "index"
language = "en"
default_role = "py:obj"
add_module_names = False
toc_object_entries_show_parents = "hide"

# Notebooks come with what they showed; they are run by `book.making.executing`.
nb_execution_mode = "off"
nb_ipywidgets_js = {}  # or pages ask a CDN
nb_merge_streams = True
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
suppress_warnings = ["config.cache"]

autodoc_typehints = "none"  # the docstrings say it in words, with shapes
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 90

html_theme = "furo"
html_title = f"fpgmlab {release}"
html_math_renderer = "mathml"
html_static_path = ["static"]
html_css_files = ["book.css"]
html_copy_source = html_show_copyright = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
copybutton_selector = "div.highlight-ipython3 pre, div.highlight-python pre, div.highlight-sh pre"
