"""Pages that come quickly: what the theme loads and no page uses stays at home.

Icons: the theme brings all of Font Awesome as a script of 1.5 MB. Its style sheet knows
the icons as a font, too; the glyphs that the pages name are cut from it (`icons-*.woff`).

Search: Sphinx's scripts and index go; section_search.py makes ours, for the search page only.

Styles: the theme has rules for all that Bootstrap knows. One whose classes are a word of no
page and no script is for nothing here, and goes.

MathJax: the PyPI package sphinx-mathjax-offline carries all of it, 24 MB, and one script of
1.2 MB that knows every dialect. The book's formulas need six parts and their fonts.
They are asked for on all pages, and stay where a formula is, be it in a tip only.
"""

import re
import shutil
from importlib.util import find_spec
from pathlib import Path

from fontTools import subset

MATHJAX = (
    "startup.js",
    "core.js",
    "input/tex-base.js",
    "input/tex/extensions/ams.js",
    "output/chtml.js",
    "output/chtml/fonts",
    "a11y/assistive-mml.js",
)
FONTS = {"solid": "fa-solid-900.ttf", "brands": "fa-brands-400.ttf"}
UNUSED = (
    "fontawesome.js",
    "sphinx-thebe",
    "searchtools.js",
    "language_data.js",
    "searchindex.js",
    "design-tabs.js",
    'rel="preload" as="script"',  # what is read comes before what moves
)
TAG = re.compile(r"[ \t]*(<script\b[^>]*\bsrc=[^>]*></script>|<link\b[^>]*>)\n?")
LATER = re.compile(r"<script src=(?![^>]*documentation_options)")  # the page comes first
RULE = re.compile(r'((?:\.fa-[\w-]+:before,?)+)\{content:"\\([0-9a-f]+)"\}')
INNER_RULE = re.compile(r"([^{}@;/]+)\{[^{}]*\}")
THEME_ICON = re.compile(r'--pst-icon-[\w-]+:"(.)"')


def pages(app):
    """The built pages, not what lies beside them."""
    folder = Path(app.outdir)
    return [p for p in folder.rglob("*.html") if "_static" not in p.relative_to(folder).parts]


def copy_mathjax(app):
    package = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static/mathjax"
    for name in MATHJAX:
        source, target = package / name, Path(app.outdir, "_static/mathjax", name)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy(source, target)


def without(html, names):
    """The page without the tags that load files of these names."""
    return TAG.sub(lambda tag: "" if any(n in tag[1] for n in names) else tag[0], html)


def drop_what_no_one_uses(app):
    for page in pages(app):
        html = page.read_text("utf-8")
        names = UNUSED
        if 'class="math' not in html:
            names += ("mathjax/startup.js",)
        page.write_text(LATER.sub("<script defer src=", without(html, names)), "utf-8")
    Path(app.outdir, "_static/scripts/fontawesome.js").unlink(missing_ok=True)


def icons_used(app):
    """Code points: of the classes in the pages, and of what the theme draws by itself."""
    css = Path(app.outdir, "_static/styles/pydata-sphinx-theme.css").read_text("utf-8")
    codes = {
        name: int(code, 16)
        for names, code in RULE.findall(css)
        for name in re.findall(r"\.(fa-[\w-]+)", names)
    }
    named = {n for p in pages(app) for n in re.findall(r"\bfa-[\w-]+", p.read_text("utf-8"))}
    return {codes[n] for n in named & set(codes)} | {ord(c) for c in THEME_ICON.findall(css)}


def cut_icons(app):
    folder, used = Path(app.outdir, "_static/vendor/fontawesome/webfonts"), icons_used(app)
    for name, file in FONTS.items():
        options = subset.Options(flavor="woff")
        font = subset.load_font(str(folder / file), options)
        cutter = subset.Subsetter(options)
        cutter.populate(unicodes=used)
        cutter.subset(font)
        subset.save_font(font, str(Path(app.outdir, f"_static/icons-{name}.woff")), options)


def cut_styles(app, error):
    """Last of all: figures.py, too, gives pages classes."""
    if error or app.builder.name != "html":
        return
    folder = Path(app.outdir)
    files = [*pages(app), *folder.rglob("*.js"), *folder.rglob("*.mjs")]
    words = {word for file in files for word in re.findall(r"[\w-]+", file.read_text("utf-8"))}

    def needed(rule):
        classes = (re.findall(r"\.([A-Za-z_][\w-]*)", one) for one in rule[1].split(","))
        return rule[0] if any(words.issuperset(names) for names in classes) else ""

    for sheet in folder.glob("_static/**/*.css"):
        text = INNER_RULE.sub(needed, sheet.read_text("utf-8"))
        sheet.write_text(text, "utf-8")


def lighten(app, error):
    if error or app.builder.name != "html":
        return
    copy_mathjax(app)
    cut_icons(app)
    drop_what_no_one_uses(app)


def setup(app):
    app.set_html_assets_policy("always")  # what a page has no use for is taken away again
    app.connect("build-finished", lighten)
    app.connect("build-finished", cut_styles, priority=900)
    return {"parallel_read_safe": True}
