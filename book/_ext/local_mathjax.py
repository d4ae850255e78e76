"""Put MathJax beside the pages, so that formulas need no content network.

The PyPI package sphinx-mathjax-offline carries all of MathJax, 24 MB. The pages need
one script and its fonts, under 2 MB; only these are copied.
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
        source, target = package / "static/mathjax" / name, Path(app.outdir, "_static/mathjax", name)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy(source, target)


def setup(app):
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True}
