"""What makes a notebook read like a book: predictions stand out, figures have numbers.

The cover's viewer is drawn as its page is read, by the package as it is.
A paragraph that begins with "Predict" becomes a callout. Each figure and each table gets its
number, an anchor by that number, and a caption: the beginning of the figure's alternative text,
the heading above the table. Prose that says "the figure below" then names it by its number.
Widgets of one kind share one module.
"""

import re
from itertools import accumulate

from bs4 import BeautifulSoup
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from vitbook import load_pretrained
from vitbook.data import photograph
from vitbook.training.weights import pretrained_path, read_header
from vitbook.viewer import show_attention

POINTED = re.compile(r"\b[Tt]he (figure|table) (above|below)\b")


class CoverViewer(SphinxDirective):
    """Chapter 6's viewer on the CIFAR-10 model and the cat."""

    def run(self):
        classes = read_header(pretrained_path("cifar10"))["classes"]
        view = show_attention(load_pretrained("cifar10"), photograph("chelsea", 32), classes)
        return [nodes.raw("", view.text, format="html")]


def mark_predictions(soup):
    for strong in soup.select("p > strong:first-child"):
        if strong.get_text().startswith("Predict") and not strong.previous_sibling:
            strong.parent["class"] = ["predict"]


def beginning(text, enough=120):
    """The first sentences of a text, up to the one that makes it long enough."""
    sentences = re.split(r"(?<=[.!?]) (?=[A-Z])", text)
    lengths = accumulate(len(one) for one in sentences)
    return " ".join(
        one for one, end in zip(sentences, lengths, strict=True) if end - len(one) < enough
    )


def captioned(soup, kind, number, text, tag):
    """A caption that begins with a number, and the id by which links find it."""
    caption, name = soup.new_tag(tag), f"{kind.lower()}-{number.replace('.', '-')}"
    link = soup.new_tag("a", href=f"#{name}")
    link.string = f"{kind} {number}"
    caption.extend([link, f" {text}"])
    return name, caption


def number_figures(soup, chapter):
    for count, image in enumerate(soup.select("div.cell_output img, p > img"), 1):
        text = beginning(image["alt"])
        name, caption = captioned(soup, "Figure", f"{chapter}{count}", text, "figcaption")
        figure = image.wrap(soup.new_tag("figure", id=name))
        figure.append(caption)
        if figure.parent.name == "p":
            figure.parent.unwrap()


def number_tables(soup, chapter):
    """A table says what its section is about."""
    tables = [t for t in soup.find_all("table") if not t.find_parent(class_="cell_output")]
    for count, table in enumerate(tables, 1):
        heading = table.find_previous(re.compile("h[1-6]"))
        text = heading.find(string=lambda s: s.parent.get("class") != ["section-number"])
        name, caption = captioned(soup, "Table", f"{chapter}{count}", text.strip(), "caption")
        table["id"] = name
        table.insert(0, caption)


def refer_by_number(soup):
    """What prose calls *the figure below* becomes its number, and leads there; so do tables."""
    for text in soup.find_all(string=POINTED):
        found = POINTED.search(text)
        tag = "table" if found[1] == "table" else "figure"
        look = text.find_previous if found[2] == "above" else text.find_next
        there = look(tag, id=re.compile(f"^{tag}-"))
        if there is None:
            continue
        link = soup.new_tag("a", href=f"#{there['id']}")
        link.string = there.find(["figcaption", "caption"]).a.string
        text.replace_with(text[: found.start()], link, text[found.end() :])


def share_modules(soup):
    """Widgets of a kind bring the same module each; one is enough, and starts them all."""
    first = {}
    for script in soup.select("div.cell_output script[type=module]"):
        module, start = script.string.rstrip().rsplit("\n", 1)
        if module in first:
            first[module].string += f"{start}\n"
            script.decompose()
        else:
            script.string = f"{module}\n{start}\n"
            first[module] = script


def as_a_book(app, page, template, context, doctree):
    if doctree is None:  # a page of the theme's own
        return
    soup = BeautifulSoup(context["body"], "html.parser")
    chapter = re.match(r"notebooks/0*(\d+)_", page)
    mark_predictions(soup)
    number_figures(soup, f"{chapter[1]}." if chapter else "")
    number_tables(soup, f"{chapter[1]}." if chapter else "")
    refer_by_number(soup)
    share_modules(soup)
    context["body"] = str(soup)


def setup(app):
    app.add_directive("cover-viewer", CoverViewer)
    app.connect("html-page-context", as_a_book)
    app.add_js_file("memory.mjs", type="module")
    return {"parallel_read_safe": True}
