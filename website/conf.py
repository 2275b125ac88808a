"""How Sphinx builds the site: from the folder that ``pages.py`` lays out, offline."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from vesalius.core.version import VERSION  # noqa: E402 - the source is no installed package here

project = "vesalius"
author = copyright = "The vesalius developers"
release = version = VERSION

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
html_theme = "furo"
html_title = "vesalius"
html_copy_source = False
html_show_sourcelink = False
html_static_path = [str(ROOT / "website" / "static")]
html_css_files = ["site.css"]
templates_path: list[str] = []

# tutorials are scripts in cells, run while the site is built
nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "cache"
nb_execution_cache_path = str(ROOT / "build" / "tutorials")
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True
nb_output_stderr = "remove"  # progress, and warnings that name folders of the machine

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
# examples are doctests: what is copied is what is typed
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True, "no-value": True}
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
napoleon_custom_sections = ["Axes", "Reference", "References", "Differs from the paper"]
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 120

suppress_warnings = ["ref.python"]  # the names of axes in a shape are no references


MARKUP = re.compile(r"(``.*?``|:\w+:`.*?`|`[^`]*`)")


def escape_formulas(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Let ``*`` and ``|`` of a docstring be what they are in its formulas and shapes: there is no emphasis in docstrings."""
    del app, what, name, obj, options
    lines[:] = [
        "".join(part if MARKUP.fullmatch(part) else re.sub(r"([*|])", r"\\\1", part) for part in MARKUP.split(line)) for line in lines
    ]


def skip_members_of_others(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what a library wrote into our classes."""
    del app, what, name, skip, options
    return None if str(getattr(obj, "__module__", None) or "vesalius").startswith("vesalius") else True


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-skip-member", skip_members_of_others)
    app.connect("autodoc-process-docstring", escape_formulas, priority=900)
