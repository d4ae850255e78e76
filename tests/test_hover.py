"""Terms, papers and equations show what they are: by pointer, by keyboard, and to checkers."""

import pytest
from test_site import CHAPTERS, SITE, soup, visit

pytestmark = pytest.mark.skipif(not SITE.exists(), reason="no site: run make book first")
PAGES = [f"notebooks/{name}.html" for name in CHAPTERS]
# A term, a paper and an equation of chapter 3, and a piece of what each says.
KINDS = {
    "term": ("a.mention[href$='#term-softmax']", "sum to one"),
    "paper": (".bd-article a[href='https://arxiv.org/abs/1706.03762']", "Vaswani"),
    "equation": ("a.mention[href$='#eq-6']", ""),
}


def tips(page):
    return {tip["data-for"]: tip for tip in soup(page).select(".tip")}


@pytest.mark.parametrize("page", PAGES)
def test_every_mention_has_one_tip_and_is_made_once(page):
    mentions = [link["href"] for link in soup(page).select("a.mention")]
    assert len(mentions) >= 5 and len(set(mentions)) == len(mentions)
    assert set(mentions) <= set(tips(page))
    links = {link["href"] for link in soup(page).select(".bd-article a[href]")}
    assert set(tips(page)) <= links, "a tip without a link"
    assert all(tip.has_attr("hidden") and not tip.find("a") for tip in tips(page).values())


@pytest.mark.parametrize("page", PAGES)
def test_mentions_stand_in_prose_only(page):
    for link in soup(page).select("a.mention"):
        assert link.find_parent("p"), link
        assert not link.find_parent(["pre", "code", "h1", "h2", "h3"]), link


@pytest.mark.parametrize("page", PAGES)
def test_every_paper_of_the_list_says_what_it_is(page):
    listed = {a["href"] for a in soup("book/references.html").select(".citation a[href]")}
    linked = {a["href"] for a in soup(page).select(".bd-article a[href]")}
    assert listed & linked <= set(tips(page))


def test_words_of_every_day_are_terms_only_in_italics():
    everyday = {"depth", "dim", "head", "key", "mask", "query", "relevance", "value"}
    found = [m for page in PAGES for m in soup(page).select("a.mention")]
    ordinary = [m for m in found if m["href"].rpartition("#term-")[2] in everyday]
    assert ordinary and all(link.parent.name == "em" for link in ordinary)
    assert all(link.parent.text == link.text for link in ordinary), "singular values"


def test_equations_are_the_vit_papers_own():
    """Chapter 3 first names another paper's equation 1, which stays a plain word."""
    shown = {m["href"].split("#")[1] for m in soup(PAGES[2]).select("a.mention[href*='#eq-']")}
    assert shown == {"eq-5", "eq-6", "eq-7", "eq-8"}
    for number in range(1, 9):
        (row,) = soup("book/equations.html").select(f"#eq-{number}")
        assert f"q. {number}" in row.td.get_text() and row.select(".math")


@pytest.mark.parametrize("kind", KINDS)
def test_hover_and_focus_show_it_and_escape_closes_it(browser, address, kind):
    selector, piece = KINDS[kind]
    view, faults = visit(browser, address, PAGES[2], "light", 1280)
    link, shown = view.locator(selector).first, view.locator(".tip:visible")
    link.scroll_into_view_if_needed()
    view.wait_for_timeout(100)

    link.hover()
    shown.wait_for()
    assert piece in shown.inner_text()
    assert link.get_attribute("aria-describedby") == shown.get_attribute("id")
    if kind == "equation":
        shown.locator("mjx-container").wait_for()
    shown.hover()  # it stays while the pointer is on it
    view.wait_for_timeout(400)
    assert shown.count() == 1
    view.keyboard.press("Escape")
    assert shown.count() == 0

    view.mouse.move(0, 0)
    link.focus()
    shown.wait_for(timeout=5000)
    view.mouse.wheel(0, 40)  # it goes along with its link
    view.wait_for_timeout(200)
    below = shown.bounding_box()["y"] - link.bounding_box()["y"]
    assert abs(below) < 250
    view.keyboard.press("Tab")
    assert link.get_attribute("aria-describedby") is None
    assert not faults
    view.context.close()


@pytest.mark.parametrize("theme, width", [("light", 1280), ("dark", 390)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_shown_tip_is_on_the_screen_and_breaks_no_rule(
    browser,
    address,
    theme,
    width,
    kind,
):
    from axe_playwright_python.sync_playwright import Axe

    view, _ = visit(browser, address, PAGES[2], theme, width)
    view.locator(KINDS[kind][0]).first.focus()
    shown = view.locator(".tip:visible")
    shown.wait_for(timeout=5000)
    box = shown.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= width
    assert box["y"] >= 0 and box["y"] + box["height"] <= 900
    assert not [v["id"] for v in Axe().run(view, context=".tip").response["violations"]]
    view.context.close()
