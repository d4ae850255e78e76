"""The book in one piece: nothing lost, links lead somewhere, nothing is fetched."""

import re

import pytest
import whole_book
from bs4 import BeautifulSoup

pytestmark = pytest.mark.skipif(not whole_book.SITE.exists(), reason="no site: make book first")
SOME = ["book/intro.html", "notebooks/03_attention.html", "book/equations.html"]


@pytest.fixture(scope="module")
def joined():
    return BeautifulSoup(whole_book.join(), "html.parser")


def test_every_page_is_there_in_the_order_of_the_contents(joined):
    names = [whole_book.name_of(page) for page in whole_book.contents()]
    assert [found["id"] for found in joined.find_all("article")] == names
    assert len(joined.select("nav.whole a")) == len(names)


def test_no_id_stands_twice(joined):
    ids = [part["id"] for part in joined.find_all(id=True) if not part.find_parent(class_="vv")]
    assert len(ids) == len(set(ids))


def test_links_lead_to_what_is_there(joined):
    ids = {part["id"] for part in joined.find_all(id=True)}
    links = [link["href"] for link in joined.select("article a[href]")]
    within = {link[1:] for link in links if link.startswith("#")}
    assert len(within) > 100 and within <= ids
    assert all(link.startswith(("#", "http")) for link in links)


def test_files_are_found_from_where_it_lies(joined):
    sources = {part["src"] for part in joined.find_all(src=True)} - {"mathjax/startup.js"}
    files = [s for s in sources if not s.startswith("data:")]
    assert len(files) > 30
    assert all((whole_book.JOINED.parent / file).is_file() for file in files)


@pytest.fixture(scope="module")
def made(browser, tmp_path_factory):
    """Both editions of three pages, and the folder they are in."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whole_book, "contents", lambda: SOME)
        patch.setattr(whole_book, "TARGETS", folder)
        assert len(list(whole_book.make(browser, ["pdf", "single"]))) == 2
    return folder


def test_the_pdf_has_pages_numbers_an_outline_and_links(made):
    text = (made / "book.pdf").read_bytes()
    pages = len(re.findall(rb"/Type\s*/Page\b", text))
    assert 20 < pages < 60
    assert b"/Outlines" in text and b"/StructTreeRoot" in text
    assert len(re.findall(rb"/Subtype\s*/Link", text)) > 30


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_single_file_needs_no_other(browser, made, theme):
    page = browser.new_page(color_scheme=theme, viewport={"width": 390, "height": 800})
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    address = (made / "book.html").as_uri()
    page.goto(address, wait_until="load")
    outside = [url for url in asked if not url.startswith(("data:", address))]
    assert not outside and not said
    assert page.locator("html").get_attribute("data-theme") == theme
    assert page.locator("mjx-container").count() > 50  # formulas are set
    assert page.locator(".vv button").count() > 3  # and the viewer lives
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("nav.whole a", has_text="Attention").first.click()
    assert page.url.endswith("#03_attention")
    assert page.locator("[id='03_attention'] h1").is_visible()
    page.close()
