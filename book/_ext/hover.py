"""Terms, papers and equations say what they are where a page names them.

The first mention of a glossary term on a page, and of an equation of the ViT paper, become
links. What these links, and those to papers of the list of references, lead to is written
once at the end of the page, out of sight; _static/hover.js shows it on hover and focus.
"""

import re
from html import escape

from docutils import nodes

GLOSSARY, EQUATIONS, REFERENCES = "book/glossary", "book/equations", "book/references"
PLAIN = {GLOSSARY, EQUATIONS, REFERENCES, "book/changelog"}
# Words of every day: they are terms only where the text sets them, alone, in italics.
EVERYDAY = {"depth", "dim", "head", "key", "mask", "query", "relevance", "value"}
NOT_PROSE = (nodes.reference, nodes.literal, nodes.title, nodes.math, nodes.literal_block)
EQUATION = r"\b(?:eq\.|equations?) (?P<equation>\d)"


def mark_equations(app, doctree):
    """Rows of the equations page can be pointed at: eq-1 to eq-8."""
    if app.env.docname != EQUATIONS:
        return
    for row in doctree.findall(nodes.row):
        if number := re.match(r"(?:Eq|Appendix A, eq)\. (\d)$", row[0].astext()):
            row["ids"].append(f"eq-{number[1]}")


def find_tips(app):
    """{anchor or address: the nodes that say what stands there}; read once in a build."""
    if not hasattr(app, "vitbook_tips"):
        app.vitbook_tips = {}
        for item in app.env.get_doctree(GLOSSARY).findall(nodes.definition_list_item):
            app.vitbook_tips[item[0]["ids"][0]] = item[-1].children
        for row in app.env.get_doctree(EQUATIONS).findall(nodes.row):
            for anchor in row["ids"]:
                app.vitbook_tips[anchor] = row[0].children + row[1].children
        papers = app.env.get_and_resolve_doctree(REFERENCES, app.builder)
        for entry in papers.findall(nodes.citation):
            for link in entry.findall(nodes.reference):
                app.vitbook_tips[link.get("refuri")] = entry.children[1:]
    return app.vitbook_tips


def is_link(node):
    return isinstance(node, nodes.reference)


def of_another_paper(text):
    """Whether an equation is one of the paper that the sentence links to, and not of ViT's."""
    before = text.parent[: text.parent.index(text)]
    return any("abs/2010.11929" not in n.get("refuri", "") for n in before if is_link(n))


def in_prose(text):
    """Whether a text stands in a paragraph, and in nothing that is more than words."""
    node, paragraph = text.parent, False
    while node is not None and not isinstance(node, NOT_PROSE):
        paragraph, node = paragraph or isinstance(node, nodes.paragraph), node.parent
    return paragraph and node is None


def link_mentions(app, doctree, page):
    """Make links of the first mention of each term and equation on a page."""
    if app.builder.name != "html" or page in PLAIN:
        return
    glossary = app.env.get_doctree(GLOSSARY)
    terms = {term.astext().lower(): term["ids"][0] for term in glossary.findall(nodes.term)}
    longest_first = "|".join(re.escape(t) for t in sorted(terms, key=len, reverse=True))
    mention = re.compile(
        rf"{EQUATION}|(?<![\w-])(?P<term>{longest_first})(?:e?s)?(?![\w-])", re.IGNORECASE
    )
    seen = set()
    for text in [t for t in doctree.findall(nodes.Text) if in_prose(t)]:
        pieces, end = [], 0
        for match in mention.finditer(text):
            term = (match["term"] or "").lower()
            anchor = terms.get(term) or f"eq-{match['equation']}"
            alone = isinstance(text.parent, nodes.emphasis) and match[0] == text
            everyday = term in EVERYDAY and not alone
            if anchor in seen or everyday or (match["equation"] and of_another_paper(text)):
                continue
            seen.add(anchor)
            there = app.builder.get_relative_uri(page, GLOSSARY if term else EQUATIONS)
            link = nodes.reference("", match[0], internal=True, refuri=f"{there}#{anchor}")
            link["classes"].append("mention")
            pieces += [nodes.Text(text[end : match.start()]), link]
            end = match.end()
        if pieces:
            text.parent.replace(text, [*pieces, nodes.Text(text[end:])])


def write_tips(app, page, template, context, doctree):
    """At the end of a page, out of sight, what its links of these kinds lead to."""
    if app.builder.name != "html" or doctree is None or page in PLAIN:
        return
    tips, written = find_tips(app), {}
    for link in doctree.findall(is_link):
        address = link.get("refuri", "")
        tip = tips.get(address) or tips.get(address.partition("#")[2])
        if tip and address not in written:
            html = "".join(app.builder.render_partial(node)["fragment"] for node in tip)
            html = re.sub(r" URL: <a .*?</a>\.", "", html)  # nothing to press in a tip
            written[address] = (
                f'<div class="tip" role="tooltip" id="tip-{len(written)}" hidden'
                f' data-for="{escape(address)}">{html}</div>\n'
            )
    context["body"] += "".join(written.values())


def setup(app):
    app.connect("doctree-read", mark_equations)
    app.connect("doctree-resolved", link_mentions)
    app.connect("html-page-context", write_tips)
    app.add_js_file("hover.js", loading_method="defer")
    return {"parallel_read_safe": True}
