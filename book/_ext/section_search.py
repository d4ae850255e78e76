"""The search index: every section of the built pages with its text, for search.js.

Code is left out: the prose says what it does, and names of functions stand in the prose.
Synonyms are `book/synonyms.yaml`: whoever writes one word of a row finds the others, too.
"""

import json
import re
from pathlib import Path

import yaml
from bs4 import BeautifulSoup
from light_pages import pages

OUTSIDE = "nav, script, style, .highlight, .headerlink, .toctree-wrapper, .only-dark"


def own_text(section):
    """What stands in a section and in none below it."""
    text = " ".join(
        words
        for piece in section.find_all(string=True)
        if piece.find_parent("section") is section and (words := " ".join(piece.split()))
    )
    alts = [i["alt"] for i in section.select("img[alt]") if i.find_parent("section") is section]
    return re.sub(r" ([.,;:!?)])", r"\1", " ".join([text, *alts]))


def sections(page, address):
    """(address, page title, section title, text) of each section with an anchor."""
    article = BeautifulSoup(page.read_text("utf-8"), "html.parser").select_one("article")
    for element in article.select(f"{OUTSIDE}, .cell_output pre") if article else ():
        element.decompose()
    title = article.h1.get_text(" ", strip=True) if article and article.h1 else ""
    for section in article.select("section[id]") if title else ():
        head = section.find(re.compile("^h[1-6]$"), recursive=False)
        if head:
            name = " ".join(head.get_text().split())
            head.decompose()
            yield f"{address}#{section['id']}", " ".join(title.split()), name, own_text(section)


def write_index(app, error):
    if error or app.builder.name != "html":
        return
    folder = Path(app.outdir)
    addresses = {p: p.relative_to(folder).as_posix() for p in sorted(pages(app))}
    synonyms = Path(app.srcdir, "book/synonyms.yaml").read_text("utf-8")
    index = {
        "synonyms": yaml.safe_load(synonyms),
        "sections": [
            s
            for page, address in addresses.items()
            if address not in ("search.html", "genindex.html", "index.html")
            for s in sections(page, address)
        ],
    }
    text = f"const SECTIONS = {json.dumps(index, ensure_ascii=False)};"  # also from file://
    (folder / "_static/sections.js").write_text(text, "utf-8")


def setup(app):
    app.connect("build-finished", write_index)
    return {"parallel_read_safe": True}
