"""The documentation: ``sphinx-build -W -b html docs docs/_build/html``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import opensim_nem2e

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
# What the gallery's runs log is not for the builder's console.
logging.getLogger("opensim_nem2e").propagate = False

project = "opensim_nem2e"
author = "The opensim_nem2e developers"
copyright = "the opensim_nem2e developers, Apache-2.0"
version = release = opensim_nem2e.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "reference_pages",
    "sphinx.ext.autodoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "**/README.*"]

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["config.cache"]

autodoc_typehints = "none"
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "filename_pattern": r"plot_",
    "image_scrapers": ("gallery_figures.save_figures", "matplotlib"),
    "remove_config_comments": True,
    "show_memory": False,
    "abort_on_example_error": True,
    "download_all_examples": False,
}

html_theme = "furo"
html_title = f"opensim_nem2e {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
