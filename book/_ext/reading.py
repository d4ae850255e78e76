"""What makes a notebook read like a book: predictions stand out, figures have numbers.

The cover's viewer is drawn as its page is read, by the package as it is.
A paragraph that begins with "Predict" becomes a callout. Each figure of a chapter gets its
number, an anchor by that number, and the beginning of its alternative text as caption.
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


class CoverViewer(SphinxDirective):
    """Chapter 6's viewer on the CIFAR-10 model and the cat."""

    def run(self):
        classes = read_header(pretrained_path("cifar10"))["classes"]
        view = show_attention(load_pretrained("cifar10"), photograph("chelsea", 32), classes)
        return [nodes.raw("", view.text, format="html")]


def chapter_number(app, page):
    """The number of a chapter with a dot, as the table of contents gives it; else nothing."""
    return "".join(f"{n}." for n in app.env.toc_secnumbers.get(page, {}).get("", ()))


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


def number_figures(soup, chapter):
    images = soup.select("div.cell_output img")
    for count, image in enumerate(images, 1):
        number = f"{chapter}{count}"
        figure = image.wrap(soup.new_tag("figure", id=f"figure-{number.replace('.', '-')}"))
        caption = soup.new_tag("figcaption")
        link = soup.new_tag("a", href=f"#{figure['id']}")
        link.string = f"Figure {number}"
        caption.extend([link, f" {beginning(image['alt'])}"])
        figure.append(caption)


def as_a_book(app, page, template, context, doctree):
    if not page.startswith("notebooks/"):
        return
    soup = BeautifulSoup(context["body"], "html.parser")
    mark_predictions(soup)
    number_figures(soup, chapter_number(app, page))
    context["body"] = str(soup)


def setup(app):
    app.add_directive("cover-viewer", CoverViewer)
    app.connect("html-page-context", as_a_book)
    app.add_js_file("memory.mjs", type="module")
    return {"parallel_read_safe": True}
