"""What search engines, messengers and lost readers see of the site."""

import xml.etree.ElementTree as ElementTree
from urllib.parse import urlsplit

import pytest
import yaml
from conftest import ROOT
from PIL import Image
from test_site import PAGES, SITE, soup, visit

pytestmark = pytest.mark.skipif(not SITE.exists(), reason="no site: run make book first")
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
ACCOUNT, NAME = CONFIG["repository"]["url"].split("/")[-2:]
BASE = f"https://{ACCOUNT}.github.io/{NAME}/"


def meta(page, key):
    """The contents of every such tag: one is wanted."""
    there = soup(page).head
    return [t["content"] for t in there.find_all("meta", attrs={"name": key})] + [
        t["content"] for t in there.find_all("meta", attrs={"property": key})
    ]


def only(page, key):
    (content,) = meta(page, key)
    return content


def local(url):
    """The file in which an address of the site lies."""
    assert url.startswith(BASE)
    return SITE / (url.removeprefix(BASE) or "index.html")


@pytest.mark.parametrize("page", [*PAGES, "index.html"])
def test_every_page_says_what_it_is(page):
    description = only(page, "description")
    assert 40 <= len(description) <= 200 and "$" not in description
    assert only(page, "og:description") == description
    assert only(page, "og:title") in soup(page).title.text
    assert only(page, "og:site_name") == CONFIG["title"]
    (canonical,) = soup(page).head.find_all("link", rel="canonical")
    home = page in ("index.html", "book/intro.html")
    assert canonical["href"] == only(page, "og:url") == BASE + ("" if home else page)
    assert local(canonical["href"]).exists()


def test_no_two_pages_say_the_same():
    for key in ("description", "og:title", "og:image"):
        said = [only(page, key) for page in PAGES]
        assert len(set(said)) == len(said), key


@pytest.mark.parametrize("page", [*PAGES, "index.html"])
def test_every_page_has_a_card(page):
    assert only(page, "twitter:card") == "summary_large_image"
    assert only(page, "og:title") in only(page, "og:image:alt")
    with Image.open(local(only(page, "og:image"))) as card:
        assert card.size == (1200, 630)
        grey = card.convert("L")
    top, bottom = grey.crop((0, 0, 1200, 280)), grey.crop((0, 280, 1200, 630))
    for half in (top, bottom):  # a title above, a figure below
        assert half.getextrema()[0] < 100 < 250 < half.getextrema()[1]


def test_the_sitemap_lists_every_page_once():
    tree = ElementTree.parse(SITE / "sitemap.xml")
    listed = [node.text for node in tree.iter() if node.tag.endswith("loc")]
    pages = {BASE + page for page in PAGES} - {f"{BASE}book/intro.html"} | {BASE}
    assert len(listed) == len(pages) and set(listed) == pages
    robots = (SITE / "robots.txt").read_text()
    assert f"Sitemap: {BASE}sitemap.xml" in robots and "Disallow" not in robots


def test_the_index_is_the_cover_and_not_a_redirection():
    index, cover = soup("index.html"), soup("book/intro.html")
    assert not index.find("meta", attrs={"http-equiv": "refresh"})
    assert index.h1.text == cover.h1.text
    text, same = (page.find("article").get_text().split() for page in (index, cover))
    assert text == same and len(text) > 100
    for tag, key in (("a", "href"), ("img", "src"), ("link", "href"), ("script", "src")):
        for found in index.find_all(tag, **{key: True}):
            link = urlsplit(found[key])
            if link.path and not link.netloc:
                assert (SITE / link.path).exists(), found[key]


def test_the_index_works_in_a_browser(browser, address):
    view, faults = visit(browser, address, "", "light", 1280)
    view.locator(".path .sd-card:has(a[href$='03_attention.html'])").click()
    view.wait_for_url("**/notebooks/03_attention.html")
    assert not faults
    view.context.close()


def test_a_lost_reader_finds_back_from_any_depth():
    """Links begin with the site's path, for the page is shown in the place of any other."""
    page = soup("404.html")
    assert not page.find_all(["script", "link", "img"]), "nothing that could be missing"
    assert only("404.html", "robots") == "noindex"
    links = [a["href"] for a in page.find_all("a")]
    assert len(links) >= 3 and all(link.startswith(f"/{NAME}/") for link in links)
    assert all((SITE / link.removeprefix(f"/{NAME}/")).exists() for link in links)


@pytest.mark.parametrize("page", [*PAGES, "index.html"])
def test_version_changes_credits_and_an_edit_link_are_in_reach(page):
    from vitbook.version import __version__

    footer = soup(page).find(class_="bd-footer-content")
    assert f"Version {__version__}" in footer.get_text()
    links = {a["href"].split("/")[-1] for a in footer.find_all("a")}
    for name in ("changelog.html", "credits.html", "maintainers.html"):
        assert ("#" if page.endswith(name) else name) in links
    source = "book/intro" if page == "index.html" else page.removesuffix(".html")
    edit = [a["href"] for a in soup(page).find_all("a", href=True) if "/edit/" in a["href"]]
    assert edit and all(
        (ROOT / link.partition("/edit/main/")[2]).exists() and source in link for link in edit
    )


def test_every_photograph_has_its_credit():
    """What the package can show, the credits name."""
    from vitbook.data import pictures

    credits = (ROOT / "book/credits.md").read_text("utf-8")
    for name in pictures.PHOTOGRAPHS:
        assert name in credits, name
