"""What search engines, messengers and lost readers see of the site.

Every page gets a description, its one address, and a card with its title and a figure.
Beside the pages stand sitemap.xml, robots.txt, a page for addresses that lead nowhere,
and an index that is the cover itself instead of a redirection to it.
"""

import re
import textwrap
from html import escape
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from docutils import nodes
from matplotlib import pyplot as plt

from vitbook.version import __version__

COVER = Path(__file__).parent.parent / "_static/cover/all.png"


def name_the_site(app, config):
    """The address follows from the repository's, unless ``html.baseurl`` gives one."""
    config.version = config.release = __version__
    if not config.html_baseurl:
        account, name = urlsplit(config.html_theme_options["repository_url"]).path.split("/")[
            1:
        ]
        config.html_baseurl = f"https://{account}.github.io/{name}/"


def address_of(app, page):
    """The one address of a page; the cover's is the site's."""
    root = page == app.config.root_doc
    return urljoin(app.config.html_baseurl, "" if root else app.builder.get_target_uri(page))


def description_of(doctree):
    """What the page's front matter says, or its first whole sentences without formulas."""
    for meta in doctree.findall(nodes.meta):
        if meta.get("name") == "description":
            return meta["content"]
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        if len(text) >= 60 and not any(paragraph.findall(nodes.math)):
            sentences = re.match(r".{40,199}[.!?](?= |$)", text)
            return sentences[0] if sentences else textwrap.shorten(text, 200, placeholder=" …")
    raise ValueError("no paragraph that could describe the page")


def picture_of(app, doctree):
    """The first figure of a page that is made of pixels, or the cover's."""
    for image in doctree.findall(nodes.image):
        for source in image.get("candidates", {}).values():
            if source.endswith(".png"):
                return Path(app.srcdir, source)
    return COVER


def draw_card(title, picture, target):
    """A card of 1200 × 630 pixels, the size that messengers and networks show."""
    figure = plt.figure(figsize=(12, 6.3), facecolor="white")
    figure.text(0.05, 0.9, "Vision Transformers from scratch", size=19, color="#555", va="top")
    title = "\n".join(textwrap.wrap(title, 28))
    figure.text(0.05, 0.81, title, size=40, weight="bold", color="#111", va="top")
    axes = figure.add_axes((0.05, 0.05, 0.9, 0.5), anchor="W")
    axes.imshow(plt.imread(picture))
    axes.axis("off")
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=100)
    plt.close(figure)


def add_tags(app, page, template, context, doctree):
    """Description, canonical address and card of a page that has a text of its own."""
    if doctree is None or app.builder.name != "html":
        return
    title = app.env.titles[page].astext()
    context["pageurl"] = address_of(app, page)  # the theme writes it as the canonical address
    card = f"_static/cards/{page.replace('/', '-')}.png"
    draw_card(title, picture_of(app, doctree), Path(app.outdir, card))
    description = description_of(doctree)
    tags = {
        'name="description"': description,
        'property="og:type"': "article",
        'property="og:site_name"': app.config.html_title,
        'property="og:title"': title,
        'property="og:description"': description,
        'property="og:url"': context["pageurl"],
        'property="og:image"': urljoin(app.config.html_baseurl, card),
        'property="og:image:alt"': f"The title, {title}, above a figure of the page",
        'name="twitter:card"': "summary_large_image",
    }
    lines = (f'\n<meta {key} content="{escape(value)}" />' for key, value in tags.items())
    context["metatags"] = "".join(lines)  # a description of the page's own is among them


def lost_page(app):
    """404.html. It is shown at any depth, so its links begin with the site's path."""
    yield "404", {"home": urlsplit(app.config.html_baseurl).path}, "404.html"


def write_index(app, error):
    """The cover once more, as index.html, before jupyter-book writes a redirection there."""
    builder, root = app.builder, app.config.root_doc
    if error or builder.name != "html" or not hasattr(builder, "docwriter"):
        return
    elsewhere, outfile = builder.get_target_uri, builder.get_outfilename
    builder.get_target_uri = lambda page, typ=None: (
        "index.html" if page == root else elsewhere(page, typ)
    )
    builder.get_outfilename = lambda page: outfile("index" if page == root else page)
    builder.write_doc(root, app.env.get_and_resolve_doctree(root, builder))
    builder.get_target_uri, builder.get_outfilename = elsewhere, outfile


def write_sitemap(app, error):
    """sitemap.xml lists every page once, and robots.txt says where it is."""
    if error or app.builder.name != "html":
        return
    pages = sorted(address_of(app, page) for page in app.env.found_docs)
    lines = "".join(f"<url><loc>{escape(page)}</loc></url>\n" for page in pages)
    Path(app.outdir, "sitemap.xml").write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{lines}</urlset>\n'
    )
    sitemap = urljoin(app.config.html_baseurl, "sitemap.xml")
    Path(app.outdir, "robots.txt").write_text(f"User-agent: *\nSitemap: {sitemap}\n")


def setup(app):
    app.connect("config-inited", name_the_site)
    app.connect("html-page-context", add_tags)
    app.connect("html-collect-pages", lost_page)
    app.connect("build-finished", write_index, priority=100)
    app.connect("build-finished", write_sitemap)
    return {"parallel_read_safe": True}
