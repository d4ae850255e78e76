"""The built pages: links, alternative texts, no outside resources, and a real browser."""

import functools
import http.server
import re
import threading
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup
from conftest import ROOT

SITE = ROOT / "_build/html"
SKIP = {"genindex.html", "search.html"}
CHAPTERS = sorted(p.stem for p in ROOT.glob("notebooks/*.ipynb"))
PAGES = [f"notebooks/{name}.html" for name in CHAPTERS]
PAGES += [
    f"book/{name}.html"
    for name in (
        "intro",
        "how_to_use",
        "results",
        "cifar10_model",
        "equations",
        "glossary",
        "references",
    )
]

pytestmark = pytest.mark.skipif(not SITE.exists(), reason="no site: run make book first")


@functools.cache
def soup(page):
    return BeautifulSoup((SITE / page).read_text("utf-8"), "html.parser")


def test_the_site_has_these_pages_and_no_others():
    built = {str(p.relative_to(SITE)) for p in SITE.rglob("*.html") if "_static" not in p.parts}
    assert set(PAGES) <= built
    assert built - set(PAGES) <= {"index.html", *SKIP}


@pytest.mark.parametrize("page", PAGES)
def test_no_internal_link_is_broken(page):
    for link in soup(page).find_all("a", href=True):
        address = urlsplit(link["href"])
        if address.scheme or address.netloc:
            continue
        target = (
            ((SITE / page).parent / unquote(address.path)).resolve()
            if address.path
            else SITE / page
        )
        assert target.exists(), f"{page}: {link['href']}"
        assert target.suffix != ".ipynb" or "_sources" in str(target), f"{page}: {link['href']}"
        if address.fragment and target.suffix == ".html":
            there = soup(str(target.relative_to(SITE)))
            found = there.find(id=unquote(address.fragment)) or address.fragment == "top"
            assert found, f"{page}: {link['href']} has no such anchor"


@pytest.mark.parametrize("page", PAGES)
def test_every_image_has_alternative_text(page):
    for image in soup(page).find_all("img"):
        assert image.get("alt", "").strip(), f"{page}: {image.get('src')} lacks alt text"
        name = image["src"].split("/")[-1]
        assert image["alt"] != image["src"] and name not in image["alt"], f"{page}: {name}"
    for drawing in soup(page).find_all("svg", role="img"):
        assert len(drawing["aria-label"]) > 30


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_loaded_from_elsewhere(page):
    for tag, attribute in (
        ("script", "src"),
        ("link", "href"),
        ("img", "src"),
        ("iframe", "src"),
    ):
        for found in soup(page).find_all(tag, **{attribute: True}):
            outside = urlsplit(found[attribute]).netloc
            resource = (
                tag != "link"
                or "stylesheet" in found.get("rel", [])
                or "preload" in found.get("rel", [])
            )
            assert not (outside and resource), f"{page} loads {found[attribute]}"


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_chapter_leads_to_colab(name):
    links = [a["href"] for a in soup(f"notebooks/{name}.html").find_all("a", href=True)]
    colab = [link for link in links if "colab.research.google.com/github" in link]
    assert len(colab) >= 2 and all(link.endswith(f"/notebooks/{name}.ipynb") for link in colab)


@pytest.mark.parametrize("name", CHAPTERS)
def test_set_up_and_progress_bars_stay_off_the_page(name):
    text = soup(f"notebooks/{name}.html").find("article").get_text()
    assert "google.colab" not in text
    assert not re.search(r"\d+% \|", text)
    assert "<Figure size" not in text and "object at 0x" not in text


@pytest.fixture(scope="module")
def address():
    handler = functools.partial(QuietHandler, directory=str(SITE))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def visit(browser, address, page, theme, width):
    """Open a page; returns it with the complaints and outside requests that it caused."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    context.add_init_script(
        f"localStorage.setItem('mode','{theme}');localStorage.setItem('theme','{theme}')"
    )
    view, faults = context.new_page(), []
    view.on("console", lambda m: faults.append(m.text) if m.type == "error" else None)
    view.on("pageerror", lambda e: faults.append(str(e)))
    view.on(
        "request",
        lambda r: None if r.url.startswith((address, "data:")) else faults.append(r.url),
    )
    view.goto(f"{address}/{page}", wait_until="load")
    return view, faults


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("theme, width", [("light", 1280), ("dark", 390)])
def test_pages_work_in_a_browser(browser, address, page, theme, width):
    view, faults = visit(browser, address, page, theme, width)
    if "math" in (SITE / page).read_text("utf-8"):
        view.wait_for_function(
            "!document.querySelector('.math') || document.querySelector('mjx-container')"
        )
        assert view.locator("mjx-merror").count() == 0
    assert view.evaluate("document.documentElement.dataset.theme") == theme
    assert view.evaluate("document.documentElement.scrollWidth") <= width, (
        "page scrolls sideways"
    )
    assert not faults
    view.context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    "page",
    [
        "notebooks/03_attention.html",
        "book/how_to_use.html",
        "book/intro.html",
        "book/results.html",
    ],
)
def test_text_has_enough_contrast(browser, address, page, theme):
    from axe_playwright_python.sync_playwright import Axe

    view, _ = visit(browser, address, page, theme, 1280)
    rules = {"runOnly": ["color-contrast", "image-alt", "svg-img-alt", "link-name"]}
    found = Axe().run(view, context="article", options=rules).response["violations"]
    assert not [(v["id"], [n["html"][:120] for n in v["nodes"]][:3]) for v in found]
    view.context.close()


def test_search_finds_chapters(browser, address):
    view, faults = visit(browser, address, "search.html?q=rollout", "light", 1280)
    view.wait_for_selector("ul.search li a")
    hits = view.locator("ul.search li a").evaluate_all("links => links.map(a => a.href)")
    assert any("06_attention_maps" in hit for hit in hits)
    assert not faults
    view.context.close()
