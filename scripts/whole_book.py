"""The whole book in one piece: python scripts/whole_book.py [pdf | single].

Puts the articles of the built site after one another, in the order of its contents; links
between pages become links within. A headless Chromium sets the formulas. Then either it prints
_build/book.pdf, or everything is written into one file that needs no other, _build/book.html.
"""

import base64
import mimetypes
import os
import re
import sys
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import chromium
import yaml
from bs4 import BeautifulSoup
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_build/html"
TARGETS = ROOT / "_build"
JOINED = SITE / f"_static/whole_book.{os.getpid()}.html"  # only while this runs
NOT_READ = ".tip, .headerlink, .forget, .go-on, .edit, article > script, .lab, .lab ~ script"
POINTING = ("href", "for", "aria-labelledby", "aria-describedby", "aria-controls")
FOOTER = """<div style="width: 100%; font-size: 8px; text-align: center">
<span class="pageNumber"></span> of <span class="totalPages"></span></div>"""
STYLE = """
body { max-width: 60rem; margin: auto; padding: 1rem }
nav.whole ol { columns: 2; list-style: none; padding: 0 }
@media print {
  body { max-width: none; padding: 0 }
  article { break-before: page }
  pre { white-space: pre-wrap !important; overflow-wrap: anywhere }
  img, svg, figure, .sd-card { max-width: 100% !important; break-inside: avoid }
  div.cell_input, div.highlight, .cell_output > div { break-inside: avoid }
  h1, h2, h3 { break-after: avoid }
}
"""
THEME = """<script>
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => (document.documentElement.dataset.theme = dark.matches ? "dark" : "light");
dark.addEventListener("change", follow);
follow();
</script>"""
FORMULAS = """() => ({
  set: [...document.querySelectorAll(".math")].map((formula) => formula.outerHTML),
  style: [...document.getElementById("MJX-CHTML-styles").sheet.cssRules]
    .map((rule) => rule.cssText).join("\\n"),
})"""


def contents():
    """The pages in the order of the table of contents, as paths below the site."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    files = [toc["root"], *(c["file"] for part in toc["parts"] for c in part["chapters"])]
    return [f"{file}.html" for file in files]


def name_of(page):
    """notebooks/exercises/03_attention.html → exercises-03_attention."""
    return page.removesuffix(".html").split("/", 1)[1].replace("/", "-")


def article(page):
    """What is read of a page; ids get its name, but for a chapter's figures and viewers."""
    soup = BeautifulSoup((SITE / page).read_text("utf-8"), "html.parser")
    found = soup.find("article")
    for part in found.select(NOT_READ):
        part.decompose()
    for part in found.find_all(id=True):
        own = re.match(r"figure-\d+-", part["id"]) or part.find_parent(class_="cell_output")
        if not own:
            part["id"] = f"{name_of(page)}-{part['id']}"
    found["id"] = name_of(page)
    found["data-address"] = soup.find("link", rel="canonical")["href"]
    return found


def point(articles):
    """Links to what the book has lead within it; others to the site on the net."""
    known = {part["id"] for found in articles.values() for part in found.find_all(id=True)}
    known |= {found["id"] for found in articles.values()}

    def inside(page, link):
        there, fragment = urlsplit(urljoin(page, link)).path, unquote(urlsplit(link).fragment)
        if there not in articles:
            return urljoin(articles[page]["data-address"], link)
        longer = f"{name_of(there)}-{fragment}" if fragment else name_of(there)
        return f"#{longer if longer in known else fragment}"

    for page, found in articles.items():
        for link in found.find_all(href=lambda href: href and not urlsplit(href).scheme):
            link["href"] = inside(page, link["href"])
        for name in POINTING:
            for part in found.find_all(attrs={name: True}):
                longer = f"{name_of(page)}-{part[name]}"
                part[name] = longer if longer in known else part[name]


def join():
    """All articles in one page, as deep in the site as they were: their files are found."""
    articles = {page: article(page) for page in contents()}
    point(articles)
    page = BeautifulSoup(
        (SITE / "notebooks/03_attention.html").read_text("utf-8"), "html.parser"
    )
    sheets = page.select("link[rel=stylesheet]")
    for sheet in sheets:
        sheet["href"] = urlsplit(sheet["href"]).path
    links = (
        f'<li><a href="#{name_of(name)}">{found.h1.get_text(" ", strip=True)}</a></li>'
        for name, found in articles.items()
    )
    (cover, *others) = articles.values()
    mathjax = [str(s) for s in page.find_all("script") if "MathJax" in s.text]
    mathjax += ['<script defer src="mathjax/startup.js"></script>']
    return f"""<!DOCTYPE html>
<html lang="en" data-theme="light">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Vision Transformers from scratch</title>
{"".join(map(str, sheets))}<style>{STYLE}</style>{"".join(mathjax)}</head>
<body><main class="bd-article-container">{cover}
<nav class="whole" aria-label="All pages"><h2>All pages</h2><ol>{"".join(links)}</ol></nav>
{"".join(map(str, others))}</main></body></html>"""


def open_joined(browser):
    """The page in a browser, its formulas set."""
    page = browser.new_page(color_scheme="light")
    page.set_default_timeout(300_000)  # it is a long page
    page.goto(JOINED.as_uri())
    page.wait_for_function("window.MathJax && MathJax.startup && MathJax.startup.promise")
    page.evaluate("MathJax.startup.promise")
    return page


def pdf(page):
    target = TARGETS / "book.pdf"
    page.evaluate("""() => {
      document.querySelectorAll("details").forEach((part) => (part.open = true));
      const images = [...document.images];
      images.forEach((image) => (image.loading = "eager"));
      return Promise.all(images.map((image) => image.decode().catch(() => null)));
    }""")
    page.pdf(
        path=target,
        format="A4",
        margin=dict.fromkeys(("top", "bottom", "left", "right"), "18mm"),
        display_header_footer=True,
        header_template="<span></span>",
        footer_template=FOOTER,
        print_background=True,
        outline=True,
        tagged=True,
    )
    return target


def as_data(path):
    """A file as an address that holds it."""
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def packed_style(text, folder):
    """A style sheet with its files in it, but for the fonts that no page uses."""

    def file(found):
        path = (folder / unquote(urlsplit(found[1]).path)).resolve()
        return f'url("{as_data(path)}")' if path.is_file() else found[0]

    def sheet(found):
        return packed_style((folder / found[1]).read_text("utf-8"), folder)

    text = re.sub(r"@import\s+[\"']([^\"']+)[\"'];?", sheet, text)
    text = re.sub(r"@font-face\s*\{[^}]*vendor/[^}]*\}", "", text)
    return re.sub(r"url\([\"']?(?!data:|#)([^)\"']+)[\"']?\)", file, text)


def single(page):
    """The joined page with formulas as they were set, and every file within."""
    target, formulas = TARGETS / "book.html", page.evaluate(FORMULAS)
    soup = BeautifulSoup(JOINED.read_text("utf-8"), "html.parser")
    for script in soup.head.find_all("script"):
        script.decompose()
    for formula, html in zip(soup.select(".math"), formulas["set"], strict=True):
        formula.replace_with(BeautifulSoup(html, "html.parser"))
    for sheet in soup.select("link[rel=stylesheet]"):
        path = (JOINED.parent / sheet["href"]).resolve()
        style = soup.new_tag("style")
        style.string = packed_style(path.read_text("utf-8"), path.parent)
        sheet.replace_with(style)
    for image in soup.select("img[src]:not([src^='data:'])"):
        image["src"] = as_data((JOINED.parent / unquote(image["src"])).resolve())
    style = soup.new_tag("style")
    style.string = packed_style(formulas["style"], JOINED.parent)
    soup.head.extend([style, BeautifulSoup(THEME, "html.parser")])
    target.write_text(str(soup), "utf-8")
    return target


def make(browser, editions):
    """Write some of the editions, by name; yields their paths."""
    JOINED.write_text(join(), "utf-8")
    try:
        page = open_joined(browser)
        for edition in editions:
            yield {"pdf": pdf, "single": single}[edition](page)
        page.close()
    finally:
        JOINED.unlink()


def main():
    path = chromium.find() or sys.exit("a Chromium or Chrome is needed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for target in make(browser, sys.argv[1:]):
            print(f"{target}, {target.stat().st_size / 1e6:.1f} MB")
        browser.close()


if __name__ == "__main__":
    main()
