"""The whole book as a PDF: python scripts/paper.py, into _build/book.pdf.

Sphinx writes all pages into one, a headless Chromium prints it. Formulas are set by the page's
own script; widgets stand there as their still figures.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import chromium
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build/single"
MADE = BUILD / "_build/singlehtml/book/intro.html"
PAGE = BUILD / "_build/singlehtml/book.html"
TARGET = ROOT / "_build/book.pdf"
FOOTER = """<div style="width: 100%; font-size: 8px; text-align: center">
<span class="pageNumber"></span> of <span class="totalPages"></span></div>"""
# What belongs to a screen; the theme leaves room for it on paper.
PAPER = """
.bd-header-article, .bd-sidebar, .prev-next-footer, .headerlink, .tip, .copybtn,
#jb-print-docs-body { display: none !important }
.bd-main, .bd-content, .bd-article-container, .bd-container__inner
  { display: block !important; max-width: none !important; padding: 0 !important }
pre { white-space: pre-wrap !important; overflow-wrap: anywhere }
img, svg, figure { max-width: 100% !important; break-inside: avoid }
div.cell_input, div.highlight, .cell_output > div { break-inside: avoid }
h1, h2, h3 { break-after: avoid }
.bd-article h1 { display: block !important }
span[id^="document-"] + section { break-before: page }
"""


def build():
    """All pages in one; its links are those of the folder above where Sphinx writes it."""
    command = [Path(sys.executable).with_name("jupyter-book"), "build", ROOT, "--quiet"]
    command += ["--builder", "singlehtml", "--path-output", BUILD]
    subprocess.run(command, check=True)
    shutil.copy(MADE, PAGE)


def ready(page):
    """Wait for every formula and every figure, and open what is folded away."""
    page.wait_for_function("window.MathJax && MathJax.startup && MathJax.startup.promise")
    page.evaluate("MathJax.startup.promise")
    page.evaluate(
        """() => {
      document.querySelectorAll("details").forEach((part) => (part.open = true));
      const images = [...document.images];
      images.forEach((image) => (image.loading = "eager"));
      return Promise.all(images.map((image) => image.decode().catch(() => null)));
    }"""
    )


def main():
    path = chromium.find() or sys.exit("a Chromium or Chrome is needed")
    build()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(color_scheme="light")
        page.set_default_timeout(300_000)  # it is a long page
        page.goto(PAGE.as_uri())
        ready(page)
        page.add_style_tag(content=PAPER)
        page.pdf(
            path=TARGET,
            format="A4",
            margin={"top": "18mm", "bottom": "18mm", "left": "18mm", "right": "18mm"},
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=FOOTER,
            print_background=True,
            outline=True,
            tagged=True,
        )
        browser.close()
    print(f"{TARGET}, {TARGET.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
