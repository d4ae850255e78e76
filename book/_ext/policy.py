"""A content security policy on every page: it loads what the site brings, and nothing else.

Inline scripts, those of the theme and of the viewers, are allowed by their hashes; only where
the laboratory's models answer may WebAssembly be compiled. Last of all extensions: it hashes
what the others wrote.
"""

import base64
import hashlib
import html
import re

from light_pages import pages
from live import COMPUTES

SCRIPT = re.compile(r"<script\b([^>]*)>(.*?)</script>", re.S)
HANDLER = re.compile(r"<[a-z][^<>]*?\son[a-z]+=\"([^\"]*)\"")
META = re.compile(r'\n *<meta http-equiv="Content-Security-Policy"[^>]*>')
RULES = (
    "default-src 'self'",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    "worker-src 'self' blob:",
    "media-src 'self' blob:",
    "object-src 'none'",
    "base-uri 'self'",
    "form-action 'self'",
)


def hashed(text):
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def policy(page, wasm=False):
    """The policy of a page's HTML."""
    scripts = [
        text
        for head, text in SCRIPT.findall(page)
        if " src=" not in head and "json" not in head
    ]
    handlers = [html.unescape(text) for text in HANDLER.findall(SCRIPT.sub("", page))]
    allowed = sorted({hashed(text) for text in scripts} | {hashed(text) for text in handlers})
    words = ["script-src 'self'", *allowed]
    words += ["'unsafe-hashes'"] * bool(handlers) + ["'wasm-unsafe-eval'"] * wasm
    return "; ".join([*RULES, " ".join(words)])


def guard(app, error):
    if error or app.builder.name != "html":
        return
    for path in pages(app):
        page = META.sub("", path.read_text("utf-8"))  # of a page that was not made anew
        wasm = path.relative_to(app.outdir).as_posix() in COMPUTES
        meta = f'<meta http-equiv="Content-Security-Policy" content="{policy(page, wasm)}">'
        first = re.search(r"<meta charset[^>]*>", page)[0]  # which browsers want early
        path.write_text(page.replace(first, f"{first}\n    {meta}", 1), "utf-8")


def setup(app):
    app.connect("build-finished", guard, priority=950)
    return {"parallel_read_safe": True}
