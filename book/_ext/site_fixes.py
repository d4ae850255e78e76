"""Two corrections to what jupyter-book builds, so that pages need nothing from elsewhere.

MathJax beside the pages: the PyPI package sphinx-mathjax-offline carries all of it,
24 MB. The pages need one script and its fonts, under 2 MB; only these are copied.

No Thebe: jupyter-book adds its loader to every page, twice, whether it is used or not,
and the second one stops with an error in the browser.
"""

import shutil
from importlib.util import find_spec
from pathlib import Path

NEEDED = ("tex-chtml.js", "output/chtml/fonts")


def copy_mathjax(app, error):
    if error or app.builder.format != "html":
        return
    package = Path(find_spec("sphinx-mathjax-offline").origin).parent
    for name in NEEDED:
        source, target = (
            package / "static/mathjax" / name,
            Path(app.outdir, "_static/mathjax", name),
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy(source, target)


def drop_thebe(app, page, template, context, doctree):
    scripts = context.get("script_files", [])
    context["script_files"] = [s for s in scripts if "thebe" not in f"{s}{vars(s)}".lower()]


def setup(app):
    app.connect("build-finished", copy_mathjax)
    app.connect("html-page-context", drop_thebe, priority=900)
    return {"parallel_read_safe": True}
