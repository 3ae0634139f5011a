"""Configuration of the site: `make docs`.

The source folder of the build is the root of the repository, so that the pages' relative links to
notebooks, examples and the files at the root mean the same here and on GitHub.
"""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))

project = "gossamer"
author = "The gossamer authors"
copyright = "2026, The gossamer authors. Apache-2.0; data under licenses of their own"
release = next(
    ast.literal_eval(node.value)
    for node in ast.parse((ROOT / "__init__.py").read_text()).body
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__"
)

extensions = ["myst_nb", "sphinx_copybutton", "api_pages"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/*.md", "docs/api/**/*.rst", "docs/api/*.rst", "notebooks/*.ipynb"]
exclude_patterns = [
    path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in ("docs", "notebooks")
]

myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]  # in the notebooks
nb_execution_mode = "off"  # the notebooks hold their outputs; the tests run them
nb_merge_streams = True

html_math_renderer = "mathml"

default_role = "py:obj"
add_module_names = False
maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_title = f"gossamer {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_additional_pages = {"index": "redirect.html"}
templates_path = ["templates"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
