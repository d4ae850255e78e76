"""Each line of code is an element: the style sheet can mark where a long one folds."""

import re

from light_pages import pages

BLOCK = re.compile(r"(<pre\b[^>]*>)(.*?)(</pre>)", re.DOTALL)
PIECE = re.compile(r"<[^>]+>|\n|[^<\n]+")


def lines(code):
    """Elements that reach over several lines end with each line and begin again."""
    open_tags, line, done = [], "", []
    for piece in PIECE.findall(code):
        if piece == "\n":
            ends = "".join("</" + re.match(r"<(\w+)", t)[1] + ">" for t in reversed(open_tags))
            done.append(f'<span class="line">{line}{ends}\n</span>')
            line = "".join(open_tags)
            continue
        line += piece
        if piece.startswith("</"):
            open_tags.pop()
        elif piece.startswith("<"):
            open_tags.append(piece)
    if re.sub(r"<[^>]+>", "", line):
        done.append(f'<span class="line">{line}</span>')
        line = ""
    return "".join(done) + line


def fold(app, error):
    if error or app.builder.name != "html":
        return
    for page in pages(app):
        html = page.read_text("utf-8")
        if 'class="line"' not in html:
            html = BLOCK.sub(lambda found: found[1] + lines(found[2]) + found[3], html)
            page.write_text(html, "utf-8")


def setup(app):
    app.connect("build-finished", fold)
    return {"parallel_read_safe": True}
