"""The built pages: links, alternative texts, no outside resources, and a real browser."""

import functools
import json
import re
import sys
from urllib.parse import quote, unquote, urlsplit

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from conftest import ROOT
from viewing import drive, said, unpacked

from vitbook import data, load_pretrained, record_attention

SITE = ROOT / "_build/html"
SKIP = {"genindex.html", "search.html", "404.html"}
CHAPTERS = sorted(p.stem for p in ROOT.glob("notebooks/*.ipynb"))
PAGES = [f"notebooks/{name}.html" for name in CHAPTERS]
PAGES += [f"notebooks/exercises/{name}.html" for name in CHAPTERS if name < "07"]
PAGES += [
    f"book/{name}.html"
    for name in (
        "intro",
        "how_to_use",
        "teaching",
        "laboratory",
        "results",
        "cifar10_model",
        "lab_notes",
        "equations",
        "glossary",
        "references",
        "credits",
        "changelog",
        "maintainers",
    )
]

pytestmark = pytest.mark.skipif(not SITE.exists(), reason="no site: run make book first")


def until(view, expression, seconds=30):
    """Wait until an expression is true. It is asked from outside: the pages forbid eval."""
    for _ in range(10 * seconds):
        if view.evaluate(expression):
            return
        view.wait_for_timeout(100)
    raise AssertionError(f"not so after {seconds} s: {expression}")


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
    own = all(link.endswith(f"/notebooks/{name}.ipynb") for link in colab)
    assert len(colab) >= 2 and own, f"{name}: does its first cell link to itself? {colab}"


@pytest.mark.parametrize("name", CHAPTERS)
def test_set_up_and_progress_bars_stay_off_the_page(name):
    text = soup(f"notebooks/{name}.html").find("article").get_text()
    assert "google.colab" not in text
    assert not re.search(r"\d+% \|", text)
    assert "<Figure size" not in text and "object at 0x" not in text


def visit(browser, address, page, theme, width, touch=False):
    """Open a page; returns it with the complaints and outside requests that it caused."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=theme, has_touch=touch
    )
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
    came = listen(context, view)
    view.goto(f"{address}/{page}", wait_until="load")
    view.until_load = list(came)
    return view, faults


def listen(context, view):
    """What comes over the line to a page: (kB, name) of each request, as it ends."""
    line, names, came = context.new_cdp_session(view), {}, []
    line.send("Network.enable")
    line.on(
        "Network.requestWillBeSent",
        lambda e: names.update({e["requestId"]: e["request"]["url"].split("?")[0]}),
    )
    line.on(
        "Network.loadingFinished",
        lambda e: came.append((e["encodedDataLength"] / 1000, names[e["requestId"]])),
    )
    return came


LOOKS = [("light", 1280), ("dark", 390)]
SEEN = [(page, *look) for page in [*PAGES, "search.html", "genindex.html"] for look in LOOKS]


@pytest.fixture(scope="module", params=SEEN, ids=lambda seen: "-".join(map(str, seen)))
def seen(request, browser, address):
    """A page in one of its looks, opened once for the tests that only look at it."""
    view, faults = visit(browser, address, *request.param)
    yield view, faults, *request.param
    view.context.close()


def test_pages_work_in_a_browser(seen):
    view, faults, page, theme, width = seen
    if "math" in (SITE / page).read_text("utf-8"):
        until(
            view, "!document.querySelector('.math') || document.querySelector('mjx-container')"
        )
        assert view.locator("mjx-merror").count() == 0
    assert view.evaluate("document.documentElement.dataset.theme") == theme
    assert view.evaluate("document.documentElement.scrollWidth") <= width, (
        "page scrolls sideways"
    )
    assert not faults


def test_no_code_is_out_of_sight(seen):
    cut = """[...document.querySelectorAll('.bd-article pre')]
        .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent.slice(0, 80))"""
    assert seen[0].evaluate(cut) == []


def test_in_the_dark_no_figure_is_a_white_card(seen):
    view, _, _, theme, _ = seen
    shown = """[...document.querySelectorAll('article img[src*=_images]')]
        .filter(e => e.offsetParent !== null).map(e => e.src)"""
    dark = {"-dark." in source for source in view.evaluate(shown)}
    assert dark <= {theme == "dark"}


def test_nobody_is_shut_out(seen):
    """Whole pages, by every rule of axe: contrast, names, landmarks, headings, keyboard.

    The words of code are left out: ten thousand on a page, in the same few colours.
    """
    seen[0].wait_for_timeout(500)  # the theme's buttons come by script
    assert not complaints(seen[0], {"exclude": [[WORDS]]})


def complaints(view, where=None):
    """What axe finds on a page, and in which pieces of it."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(view, context=where).response["violations"]
    return [(v["id"], [n["html"][:120] for n in v["nodes"]][:3]) for v in found]


WORDS = ".highlight pre span"


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look[0])
def test_code_can_be_read(browser, address, look):
    """Every kind of word that code is coloured by, on as many pages as it takes."""
    kinds = {page: {c for word in soup(page).select(WORDS) for c in word.get("class", [])}
             for page in PAGES}  # fmt: skip
    missing = set().union(*kinds.values())
    assert len(missing) > 15
    while missing:
        page = max(kinds, key=lambda page: len(kinds[page] & missing))
        missing -= kinds[page]
        view, _ = visit(browser, address, page, *look)
        assert not complaints(view, {"include": [[WORDS]]}), page
        view.context.close()


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_menu_and_contents_open(browser, address, width):
    """By a tap, on a first visit; and no console error."""
    context = browser.new_context(viewport={"width": width, "height": 900}, has_touch=True)
    view, faults = context.new_page(), []
    view.on("console", lambda m: faults.append(m.text) if m.type == "error" else None)
    view.on("pageerror", lambda e: faults.append(str(e)))
    view.goto(f"{address}/notebooks/03_attention.html", wait_until="load")
    for kind, link in (("primary", "2. Embeddings"), ("secondary", "Exercises")):
        button, bar = view.locator(f"button.{kind}-toggle:visible"), f".bd-sidebar-{kind}"
        if width < 992:
            button.tap()
            view.locator(f"dialog[open] a:has-text('{link}')").wait_for(state="visible")
            view.keyboard.press("Escape")
            view.locator("dialog[open]").wait_for(state="detached")
        elif kind == "primary":  # it closes what stands open
            assert view.locator(bar).bounding_box()["x"] >= 0
            button.click()
            until(view, f"document.querySelector('{bar}').getBoundingClientRect().right <= 0")
    assert not faults
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_light_or_dark_is_known_before_the_first_paint(browser, address, theme):
    context = browser.new_context(color_scheme=theme)
    view = context.new_page()
    view.route("**/*.js*", lambda route: route.abort())  # no script has come yet
    view.goto(f"{address}/book/intro.html", wait_until="domcontentloaded")
    assert view.evaluate("document.documentElement.dataset.theme") == theme
    context.close()


def test_a_narrow_table_is_no_box_to_scroll(browser, address):
    view, _ = visit(browser, address, "notebooks/05_training.html", "light", 1280)
    tables = "[...document.querySelectorAll('.bd-article table')]"
    assert view.evaluate(f"{tables}.every(t => getComputedStyle(t).display === 'table')")
    view.context.close()


def test_code_of_ninety_six_letters_fits_at_1280(browser, address):
    view, _ = visit(browser, address, "notebooks/03_attention.html", "light", 1280)
    view.wait_for_load_state("networkidle")
    folded = """[...document.querySelectorAll('.bd-article .highlight pre .line')].filter(
        e => e.getBoundingClientRect().height > 1.5 * parseFloat(getComputedStyle(e).lineHeight)
    ).map(e => e.textContent.trimEnd().length)"""
    assert view.locator(".highlight pre .line").count() > 100
    assert not [n for n in view.evaluate(folded) if n <= 96]
    view.context.close()


def test_pages_are_light(seen):
    """At most 600 kB until load, unscrolled, and no icon or formula is missing for it."""
    view, _, page, *_ = seen
    came = [(kb, name) for kb, name in view.until_load if not name.startswith("data:")]
    assert 50 < sum(kb for kb, _ in came) < 600, sorted(came)[::-1][:10]
    assert any("icons-solid" in name for _, name in came) or page == "genindex.html"
    math = 'class="math' in (SITE / page).read_text("utf-8")
    assert any("mathjax" in name for _, name in came) == math
    assert not [name for _, name in came if "fa-solid" in name or "searchindex" in name]


@pytest.mark.parametrize("page", PAGES)
def test_figures_have_sizes_wait_for_the_reader_and_have_a_dark_form(page):
    for image in soup(page).select("article img[src*=_images]"):
        assert image.get("width") and image.get("height") and image.get("loading") == "lazy"
    light = [i["src"] for i in soup(page).select("article img.only-light")]
    dark = [i["src"] for i in soup(page).select("article img.only-dark")]
    assert [re.sub(r"\.(webp|svg)$", r"-dark.\1", s) for s in light] == dark
    assert len(light) == len(soup(page).select("article img[src*=_images]:not(.only-dark)"))


def test_ink_is_recoloured_and_pictures_are_kept():
    """A white figure with a black line, an orange line, a photograph and a map."""
    sys.path.insert(0, str(ROOT / "book/_ext"))
    import figures

    pixels = np.full((200, 300, 3), 255, "u1")
    pixels[20, 10:290], pixels[30, 10:290] = 0, (230, 159, 0)
    photograph = np.random.default_rng(0).integers(0, 255, (80, 80, 3), "u1")
    pixels[60:140, 20:100] = photograph
    pixels[60:140, 150:230] = (68, 1, 84)  # the lowest colour of a map
    mask = figures.pictures(pixels)
    assert mask[60:140, 20:100].mean() > 0.95 and mask[60:140, 150:230].all()
    assert mask.sum() <= 2 * 80 * 80
    dark = figures.swapped(pixels / 255)
    assert dark[0, 0].max() < 0.1 and dark[20, 50].min() > 0.85
    red, green, blue = dark[30, 50]
    assert red > green > blue and red > 0.7, "orange stays orange, and bright"


def test_a_phone_shows_the_way_and_wide_figures_scroll(browser, address):
    view, _ = visit(browser, address, "notebooks/06_attention_maps.html", "light", 390)
    strip = view.locator('svg[aria-label^="The way through the book"]')
    box, size = strip.bounding_box(), "parseFloat(getComputedStyle(e).fontSize)"
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    letters = strip.locator("text").first.evaluate(f"e => {size}")
    assert letters * box["width"] / 720 >= 9
    wide = view.locator(".wide-figure.scrolls")
    assert wide.count() >= 8 and wide.first.get_attribute("tabindex") == "0"
    view.context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_paper_is_light_and_nothing_is_clipped(browser, address, theme):
    view, _ = visit(browser, address, "notebooks/03_attention.html", theme, 1280)
    view.evaluate("dispatchEvent(new Event('beforeprint'))")
    view.emulate_media(media="print")
    view.set_viewport_size({"width": 700, "height": 900})
    ground = "getComputedStyle(document.querySelector('.bd-article pre')).backgroundColor"
    assert min(map(int, re.findall(r"\d+", view.evaluate(ground))[:3])) > 200
    assert view.locator("img.only-dark:visible").count() == 0
    boxes = ".bd-article :is(pre, .wide-figure, .vitbook-diagram)"
    cut = f"""[...document.querySelectorAll('{boxes}')]
        .filter(e => e.offsetParent && e.scrollWidth > e.clientWidth + 1).length"""
    assert view.evaluate(cut) == 0
    view.evaluate("dispatchEvent(new Event('afterprint'))")
    assert view.evaluate("document.documentElement.dataset.theme") == theme
    view.context.close()


QUERIES = {
    "CLS": "class token", "overfitting": "held", "licence": "licen", "heatmap": "map",
    "patch size": "patch", "ViT-B/16": "vit", "softmax": "softmax",
}  # fmt: skip


def test_search_finds_sections_with_their_sentence(browser, address):
    view, faults = visit(browser, address, "search.html", "light", 1280)
    for query, where in QUERIES.items():
        view.goto(f"{address}/search.html?q={quote(query)}", wait_until="load")
        view.wait_for_selector("ul.search li a")
        hits = view.locator("ul.search li")
        assert hits.count() >= 2, query
        links = hits.locator("a").evaluate_all("l => l.map(a => a.href)")
        assert all("#" in link for link in links), query
        marks = " ".join(view.locator("ul.search mark").all_inner_texts()).lower()
        assert where in marks, query
    assert not faults
    hits.locator("a").first.focus()
    view.keyboard.press("Enter")
    view.wait_for_url("**/*.html*#*")
    view.context.close()


def test_search_finds_chapters(browser, address):
    view, faults = visit(browser, address, "search.html?q=rollout", "light", 1280)
    view.wait_for_selector("ul.search li a")
    hits = view.locator("ul.search li a").evaluate_all("links => links.map(a => a.href)")
    assert any("06_attention_maps" in hit for hit in hits)
    assert not faults
    view.context.close()


@pytest.mark.parametrize(
    "theme, width, touch", [("light", 1280, False), ("dark", 390, True)], ids=["desk", "phone"]
)
def test_the_viewer_of_chapter_6_shows_the_tensors_numbers(
    browser, address, theme, width, touch
):
    page, faults = visit(
        browser, address, "notebooks/06_attention_maps.html", theme, width, touch
    )
    viewer = page.locator(".vitbook-viewer").first
    canvases = data.digits_canvas(data.load("digits").test, count=1000, seed=3)[0]
    model = load_pretrained("digits-canvas")
    with record_attention(model) as maps, torch.no_grad():
        model(data.normalize(canvases[:1]))
    here = soup("notebooks/06_attention_maps.html")
    shown = json.loads(here.find("script", attrs={"data-for": True}).string)
    weights = unpacked(shown["weights"], (5, 4, 65, 65))
    torch.testing.assert_close(weights.float(), maps.weights[:, 0], atol=1 / 400, rtol=0)
    drive(page, viewer, shown, touch)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not faults
    page.context.close()


def test_the_photograph_of_chapter_6_has_no_class_token(browser, address):
    page, faults = visit(browser, address, "notebooks/06_attention_maps.html", "light", 1280)
    viewer = page.locator(".vitbook-viewer").nth(1)
    assert viewer.get_by_role("button", name="class token").count() == 0
    assert "the mean of all patches looks most at row 3, column 2" in said(viewer)
    assert viewer.locator(".vv-bars em").first.inner_text() == "cat"
    assert viewer.locator(".vv-overview canvas").count() == 6 * 4 and not faults
    page.context.close()


@pytest.mark.parametrize(
    "chapter, key, before, after",
    [
        ("01_patches", "ArrowLeft", "144 tokens", "256 tokens"),
        (
            "02_embeddings",
            "ArrowLeft",
            "row 4, column 4 resembles",
            "row 4, column 3 resembles",
        ),
    ],
)
def test_the_small_widgets_answer_to_keys(browser, address, chapter, key, before, after):
    page, faults = visit(browser, address, f"notebooks/{chapter}.html", "light", 1280)
    viewer = page.locator(".vitbook-viewer")
    assert before in said(viewer)
    viewer.locator("input, .vv-picture[tabindex]").focus()
    page.keyboard.press(key)
    assert after in said(viewer) and not faults
    page.context.close()


@pytest.mark.parametrize("name", CHAPTERS)
def test_figures_have_numbers_and_captions(name):
    article = soup(f"notebooks/{name}.html").find("article")
    figures = article.select("figure")
    assert len(figures) == len(article.select("div.cell_output img:not(.only-dark)")) > 0
    for count, figure in enumerate(figures, 1):
        caption = figure.figcaption.get_text()
        assert caption.startswith(f"Figure {int(name[:2])}.{count} ")
        assert caption.split(" ", 2)[2] in figure.img["alt"]
        assert article.find(id=figure.figcaption.a["href"][1:]) is figure


@pytest.mark.parametrize("page", PAGES)
def test_tables_have_numbers_and_captions(page):
    article = soup(page).find("article")
    tables = [t for t in article.find_all("table") if not t.find_parent(class_="cell_output")]
    chapter = page in PAGES[: len(CHAPTERS)]
    start = f"{int(page[10:12])}." if chapter else ""
    assert tables or not chapter, f"{page}: no table under What you hold in your hands"
    for count, table in enumerate(tables, 1):
        words = table.caption.get_text().split(" ", 2)
        assert words[:2] == ["Table", f"{start}{count}"] and words[2]
        assert table.caption.a["href"] == f"#{table['id']}"


def test_prose_speaks_of_figures_by_their_numbers():
    links = {}
    for page in PAGES:
        article = soup(page).find("article")
        for link in article.select("p a[href^='#figure-'], p a[href^='#table-']"):
            there = article.find(id=link["href"][1:]).find(["figcaption", "caption"])
            assert there.get_text().startswith(link.get_text())
            links[page] = links.get(page, 0) + 1
        prose = " ".join(p.get_text() for p in article.find_all("p"))
        assert not re.search(r"\bthe (figure|table) (above|below)", prose, re.I)
    assert len(links) >= 6


@pytest.mark.parametrize("name", CHAPTERS)
def test_predictions_and_solutions_stand_out(name):
    article = soup(f"notebooks/{name}.html").find("article")
    asked = [p for p in article.find_all("p") if p.get_text().startswith("Predict, then run")]
    assert asked and all("predict" in p["class"] for p in asked)
    folded = [title.get_text() for title in article.select("details.hide .admonition-title")]
    assert folded and set(folded) == {"Solution"}


def test_the_book_remembers_and_forgets(browser, address):
    """The last place and what was read to the end, until one asks it to forget."""
    view, faults = visit(browser, address, "book/intro.html", "light", 1280)
    assert not view.locator(".go-on, .forget, .read-tick").count()
    view.goto(f"{address}/notebooks/02_embeddings.html#what-the-model-knows-about-where")
    until(view, "localStorage.vitbook?.includes('What the model knows')")
    assert not view.locator(".read-tick").count()
    view.evaluate("scrollTo(0, document.body.scrollHeight)")
    view.locator(".bd-links .read-tick").wait_for(state="attached")
    view.goto(f"{address}/book/intro.html")
    link = view.locator(".go-on")
    assert link.inner_text().startswith("Go on: Embeddings, ")
    assert view.locator(".path a .read-tick, .bd-links .read-tick").count() == 2
    view.get_by_role("button", name="Forget what I have read").click()
    assert not view.locator(".go-on, .read-tick").count()
    assert view.evaluate("localStorage.vitbook") is None
    assert not faults


def test_a_denied_store_is_no_fault(browser, address):
    context = browser.new_context()
    context.add_init_script(
        "Object.defineProperty(window, 'localStorage', {get() { throw new Error('denied') }})"
    )
    view, faults = context.new_page(), []
    view.on("pageerror", lambda e: faults.append(e.stack))
    view.goto(f"{address}/notebooks/01_patches.html")
    view.evaluate("scrollTo(0, 5000)")
    view.wait_for_timeout(500)
    view.goto(f"{address}/book/intro.html")
    assert not [fault for fault in faults if "memory.mjs" in fault]
