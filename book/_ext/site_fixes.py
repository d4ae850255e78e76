"""Three corrections to what jupyter-book builds, so that pages need nothing from elsewhere.

MathJax beside the pages: the PyPI package sphinx-mathjax-offline carries all of it,
24 MB. The pages need one script and its fonts, under 2 MB; only these are copied.

No Thebe: jupyter-book adds its loader to every page, twice, whether it is used or not,
and the second one stops with an error in the browser.

No roles that accessibility checkers refuse: docutils gives them to the list of references.
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


def drop_old_roles(app, page, template, context, doctree):
    for role in (' role="doc-biblioentry"', ' role="list"'):
        context["body"] = context.get("body", "").replace(role, "")


def setup(app):
    app.connect("build-finished", copy_mathjax)
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("html-page-context", drop_old_roles)
    return {"parallel_read_safe": True}
