"""The attention viewer: what it is sent, and what it does in a browser."""

import re

import pytest
import torch
from torch.testing import assert_close
from viewing import at, drive, listed, said, sent, tables, unpacked

from vitbook import VisionTransformer, data, load_pretrained, preset, record_attention
from vitbook.explain import relevance_of
from vitbook.explain.gradients import recorded_with_gradients
from vitbook.viewer import quantised, show_attention, show_patches, show_positions

HOSTILE = "</script><img src=x onerror=alert(1)>\"'"


def canvas():
    return data.digits_canvas(data.load("digits").test, 1, seed=3)[0][0]


def test_quantisation_keeps_its_promise():
    weights = torch.randn(4, 3, 65, 65).mul(3).softmax(dim=-1).double()
    error = (unpacked(quantised(weights), weights.shape) - weights).abs()
    top = weights.amax(-1, keepdim=True)
    assert (error <= (top + weights.max() / 65535) / 510 + 1e-12).all()
    assert error.max() > 0
    zeros = unpacked(quantised(torch.zeros(2, 5)), (2, 5))
    assert (zeros == 0).all()


def test_what_is_sent_is_what_was_recorded():
    model, image = load_pretrained("digits-canvas"), canvas()
    found = sent(show_attention(model, image).text)
    with record_attention(model) as maps, torch.no_grad():
        logits = model(data.normalize(image[None]))
    weights = unpacked(found["weights"], (5, 4, 65, 65))
    assert_close(weights.float(), maps.weights[:, 0], atol=1 / 400, rtol=0)
    assert found["classToken"] and (found["rows"], found["columns"]) == (8, 8)
    assert found["predictions"][0][0] == str(logits.argmax().item())
    assert found["tables"].keys() == {"rollout", "relevance"}


@pytest.mark.parametrize(
    "one_per", [list, torch.tensor, lambda v: torch.tensor(v)[:, None, None]]
)
def test_a_model_is_fed_as_it_was_trained(one_per):
    """A picture of 2 × 3 patches; one mean and deviation per colour, far from one half."""
    model = VisionTransformer(preset("tinyvit", image_size=(8, 12), depth=2)).eval()
    image = data.photograph("coffee", 12)[:, :8]
    mean, std = [0.11, 0.53, 0.97], [0.07, 0.23, 0.41]
    view = sent(show_attention(model, image, mean=one_per(mean), std=one_per(std)).text)
    weights, joined = tables(view, 2, model.config.heads, 7)
    fed = torch.stack([(c / 255 - m) / s for c, m, s in zip(image, mean, std, strict=True)])
    expected, gradients = recorded_with_gradients(model, fed[None])
    assert_close(weights.float(), expected[:, 0], atol=1 / 400, rtol=0)
    relevant = relevance_of(expected, gradients)[0] - torch.eye(7)
    assert_close(
        joined["relevance"].float(), relevant, atol=relevant.max().item() / 400, rtol=0
    )
    shares = model(fed[None])[0].softmax(dim=0)
    assert view["predictions"][0] == [
        str(shares.argmax().item()),
        round(shares.max().item(), 3),
    ]
    assert view["weights"] != sent(show_attention(model, image).text)["weights"]


def test_the_same_bytes_every_time_with_one_thread_or_two():
    model, image, texts = load_pretrained("digits-canvas"), canvas(), []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 1):
            torch.set_num_threads(count)
            texts.append(show_attention(model, image).text)
    finally:
        torch.set_num_threads(threads)
    assert len(set(texts)) == 1
    assert next(model.parameters()).dtype == torch.float32


def test_sizes():
    """12 layers, 6 heads, 65 tokens: at most 60 kB of script and 450 kB of data."""
    model = VisionTransformer(preset("mini-vit-tiny", heads=6))
    text = show_attention(model, data.photograph("chelsea", 32)).text
    numbers = re.search(r'<script type="application/json".*?</script>', text, re.S)[0]
    script = re.search(r'<script type="module">.*?</script>', text, re.S)[0]
    print(f"script {len(script.encode())} bytes, data {len(numbers.encode())} bytes")
    assert len(script.encode()) <= 60_000 and len(numbers.encode()) <= 450_000
    assert "http" not in re.sub(r"http://www\.w3\.org/\S+", "", script)


def test_refusals():
    model = load_pretrained("digits-canvas")
    with pytest.raises(ValueError, match=r"one image \(channel, height, width\), uint8, got"):
        show_attention(model, canvas().float())
    with pytest.raises(ValueError, match=r"a number, or one for each of 1 channels; got \[3\]"):
        show_attention(model, canvas(), mean=[0.485, 0.456, 0.406])
    with pytest.raises(ValueError, match="expected 10 labels, got 3"):
        show_attention(model, canvas(), ["a", "b", "c"])
    with pytest.raises(ValueError, match=r"expected images of shape \(batch, 1, 32, 32\)"):
        show_attention(model, canvas()[:, :8, :8])


def opened(browser, tmp_path, view, **options):
    """A page that holds the viewer and nothing else; complaints are collected."""
    path = tmp_path / "page.html"
    head = '<!doctype html><meta charset="utf-8">'
    head += '<meta name="viewport" content="width=device-width">'
    path.write_text(f"{head}<body>{view.text}")
    context = browser.new_context(**options)
    page, faults = context.new_page(), []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "request",
        lambda r: None if r.url.startswith(("file:", "data:")) else faults.append(r.url),
    )
    page.goto(path.as_uri())
    return page, faults


@pytest.mark.parametrize("touch", [False, True])
def test_pointer_touch_and_keys_show_the_tensors_numbers(browser, tmp_path, touch):
    view = show_attention(load_pretrained("digits-canvas"), canvas())
    size = {"width": 390, "height": 844} if touch else {"width": 1280, "height": 900}
    page, faults = opened(browser, tmp_path, view, viewport=size, has_touch=touch)
    drive(page, page.locator("body"), sent(view.text), touch)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert not faults
    page.context.close()


def test_without_a_class_token_the_mean_of_all_patches_comes_first(browser, tmp_path):
    view = show_attention(load_pretrained("cifar10"), data.photograph("chelsea", 32))
    weights = unpacked(sent(view.text)["weights"], (6, 4, 64, 64))
    page, faults = opened(browser, tmp_path, view)
    page.wait_for_selector(".vv-said")
    assert "Layer 6, mean of heads: the mean of all patches looks most at" in said(page)
    for line in listed(weights[5].mean(dim=(0, 1))):
        assert line in said(page)
    looked = page.get_by_role("button", name="is looked at by")
    assert looked.is_disabled() and looked.get_attribute("title") == "pick a patch first"
    page.locator(".vv-picture").focus()
    page.keyboard.press("ArrowDown")
    assert "row 0, column 0 looks most at" in said(page)
    looked.click()
    assert "row 0, column 0 is looked at most by" in said(page)
    page.get_by_role("button", name="all patches").click()
    assert "the mean of all patches looks most at" in said(page) and looked.is_disabled()
    page.locator(".vv-picture").focus()
    page.keyboard.press("Home")
    assert "the mean of all patches looks" in said(page) and not faults
    page.context.close()


def test_hostile_labels_are_text(browser, tmp_path):
    view = show_attention(load_pretrained("digits-canvas"), canvas(), [HOSTILE] * 10)
    assert HOSTILE not in view.text
    page, faults = opened(browser, tmp_path, view)
    page.wait_for_selector(".vv-bars em")
    assert page.locator(".vv-bars em").first.inner_text() == HOSTILE
    assert page.locator("img[src=x]").count() == 0 and not faults
    page.context.close()


def test_the_same_viewer_twice_on_a_page(browser, tmp_path):
    view = show_attention(load_pretrained("digits-canvas"), canvas())
    view.text += view.text
    page, faults = opened(browser, tmp_path, view)
    page.wait_for_selector(".vv-said")
    assert page.locator(".vv-said").count() == 2 and not faults
    page.context.close()


def test_keys_with_modifiers_belong_to_the_browser(browser, tmp_path):
    page, _ = opened(
        browser, tmp_path, show_attention(load_pretrained("digits-canvas"), canvas())
    )
    taken = page.evaluate(
        """() => ['ArrowLeft', 'l'].map((key) => [{}, {altKey: true}, {ctrlKey: true}].map(
        (held) => !document.querySelector('.vv-picture').dispatchEvent(new KeyboardEvent(
          'keydown', {key, bubbles: true, cancelable: true, ...held}))))"""
    )
    assert taken == [[True, False, False]] * 2
    page.context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_viewer_is_accessible(browser, tmp_path, theme):
    from axe_playwright_python.sync_playwright import Axe

    view = show_attention(load_pretrained("digits-canvas"), canvas())
    view.text = f"<style>:root {{ color-scheme: {theme} }}</style>" + view.text
    page, _ = opened(browser, tmp_path, view, color_scheme=theme)
    page.wait_for_selector(".vv-said")
    found = Axe().run(page, context=".vitbook-viewer").response["violations"]
    assert not [(v["id"], v["nodes"][0]["html"][:120]) for v in found]
    assert page.locator(".vv-overview button[tabindex='0']").count() == 1
    page.context.close()


def test_relevance_answers_for_the_class_asked(tmp_path):
    model, image = load_pretrained("digits-canvas"), canvas()
    shown = [sent(show_attention(model, image, target=k).text) for k in (3, torch.tensor(5))]
    assert shown[0]["tables"]["relevance"] != shown[1]["tables"]["relevance"]
    for k, data_sent in zip((3, 5), shown, strict=True):
        pixels = data.normalize(image[None])
        weights, gradients = recorded_with_gradients(model, pixels, torch.tensor([k]))
        expected = relevance_of(weights, gradients)[0] - torch.eye(65)
        _, joined = tables(data_sent, 5, 4, 65)
        top = expected.clamp(min=0)
        assert_close(joined["relevance"].float(), top, atol=top.max().item() / 400, rtol=0)


def test_without_scripts_a_figure_stands_in(browser, tmp_path):
    view = show_attention(load_pretrained("digits-canvas"), canvas())
    page, _ = opened(browser, tmp_path, view, java_script_enabled=False)
    assert page.locator(".vitbook-viewer svg[role=img]").is_visible()
    assert page.locator(".vitbook-viewer rect").count() == 64
    page.context.close()


def test_an_interaction_answers_within_16_ms(browser, tmp_path):
    model = VisionTransformer(preset("mini-vit-tiny", heads=6))
    view = show_attention(model, data.photograph("chelsea", 32))
    page, _ = opened(browser, tmp_path, view)
    page.wait_for_selector(".vv-said")
    times = page.evaluate(
        """() => { const picture = document.querySelector('.vv-picture'), times = [];
        const box = picture.getBoundingClientRect();
        for (let i = 0; i < 16; i++) { const started = performance.now();
          picture.dispatchEvent(new MouseEvent('click', {
            clientX: box.left + 20 + 40 * (i % 8),
            clientY: box.top + 20 + 40 * Math.floor(i / 8), bubbles: true }));
          times.push(performance.now() - started); }
        return times; }"""
    )
    print("milliseconds:", [round(t, 1) for t in times])
    assert sorted(times)[8] < 16
    page.context.close()


def test_the_patch_slider_counts(browser, tmp_path):
    page, faults = opened(browser, tmp_path, show_patches(data.photograph("coffee", 96)))
    page.wait_for_selector(".vv-said")
    assert "8 × 8 pixels: 12 × 12 = 144 tokens" in said(page) and "20,736 looks" in said(page)
    page.get_by_label("patch size").focus()
    page.keyboard.press("ArrowRight")
    assert "12 × 12 pixels: 8 × 8 = 64 tokens" in said(page) and "4,096 looks" in said(page)
    page.keyboard.press("Home")
    assert "2 × 2 pixels: 48 × 48 = 2,304 tokens" in said(page) and not faults
    page.context.close()
    with pytest.raises(ValueError, match=r"patch size out of \[2, 3, 4, 6, .*and 5"):
        show_patches(data.photograph("coffee", 96), start=5)


@pytest.mark.parametrize("touch", [False, True])
def test_the_position_map_shows_cosines(browser, tmp_path, touch):
    table = load_pretrained("digits-canvas").embeddings.position[0, 1:]
    view = show_positions(table, (8, 8))
    assert 'aria-label="How much each position resembles row 4, column 4."' in view.text
    page, faults = opened(browser, tmp_path, view, has_touch=touch)
    page.wait_for_selector(".vv-said")
    x, y = at(page, 2, 6)
    page.touchscreen.tap(x, y) if touch else page.mouse.move(x, y)
    picked = 2 * 8 + 6
    similar = torch.cosine_similarity(table[picked][None], table, dim=-1)
    similar[picked] = -2
    near = similar.argmax().item()
    assert f"row 2, column 6 resembles row {near // 8}, column {near % 8} most" in said(page)
    assert float(re.search(r"cosine (-?[\d.]+)", said(page))[1]) == pytest.approx(
        similar[near].item(), abs=0.01
    )
    page.mouse.click(x, y)
    page.locator(".vv-picture").focus()
    page.keyboard.press("ArrowDown")
    assert said(page).startswith("row 3, column 6 resembles") and not faults
    page.context.close()


def test_a_model_in_training_mode_is_shown_without_dropout_and_left_in_it():
    model = VisionTransformer(preset("tinyvit"))
    image = data.photograph("chelsea", 32)
    one, two = (show_attention(model, image).text for _ in range(2))
    assert one == two and model.training


def test_hovering_shows_and_pressing_picks(browser, tmp_path):
    """Off the picture, what was picked is back; a finger that scrolls picks nothing."""
    view = show_attention(load_pretrained("digits-canvas"), canvas())
    page, faults = opened(browser, tmp_path, view)
    weights = unpacked(sent(view.text)["weights"], (5, 4, 65, 65))[4].mean(dim=0)
    page.wait_for_selector(".vv-said")
    page.mouse.move(*at(page, 2, 6))
    assert "row 2, column 6 looks most at" in said(page)
    largest = weights[1 + 2 * 8 + 6, 1:].max().item()
    assert page.locator(".vv-scale").inner_text().split() == ["0", f"{100 * largest:.1f}%"]
    page.mouse.move(5, 700)
    assert "the class token looks most at" in said(page)
    page.mouse.click(*at(page, 2, 6))
    page.mouse.move(5, 700)
    assert "row 2, column 6 looks most at" in said(page)
    page.mouse.move(*at(page, 3, 1))
    page.mouse.down()
    page.mouse.move(*at(page, 4, 1))
    page.mouse.up()
    page.mouse.move(5, 700)
    assert "row 4, column 1 looks most at" in said(page) and not faults
    style = page.evaluate("getComputedStyle(document.querySelector('.vv-picture')).touchAction")
    assert style == "pan-y"
    page.context.close()


def test_the_true_box_is_framed_and_keys_are_told(browser, tmp_path):
    model = load_pretrained("digits-canvas")
    view = show_attention(model, canvas(), box=torch.tensor([8, 16, 24, 31]))
    page, faults = opened(browser, tmp_path, view)
    frame = page.locator(".vv-box")
    around, box = page.locator(".vv-picture").bounding_box(), frame.bounding_box()
    found = [
        (box["y"] - around["y"]) / around["height"],
        (box["x"] - around["x"]) / around["width"],
        box["height"] / around["height"],
        box["width"] / around["width"],
    ]
    assert found == pytest.approx([8 / 32, 16 / 32, 16 / 32, 15 / 32], abs=0.01)
    keys = " ".join(page.locator(".vv-keys").inner_text().split())
    assert "L layer · H head · Home class token" in keys
    assert "yellow is the largest of" in page.locator(".vv").inner_text() and not faults
    page.context.close()


def followed(weights, token, back):
    """Shares of each token in the picture and after every layer, one matrix at a time."""
    steps = [(layer.mean(dim=0) + torch.eye(layer.shape[-1])) / 2 for layer in weights]
    shares = [torch.eye(len(steps[0])).double()[token]]
    for step in steps[::-1] if back else steps:
        shares.append(shares[-1] @ (step if back else step.T))
    return shares[::-1] if back else shares


def test_the_flow_is_rollouts_layer_by_layer(browser, tmp_path):
    view = show_attention(load_pretrained("digits-canvas"), canvas())
    weights, joined = tables(sent(view.text), 5, 4, 65)
    page, faults = opened(browser, tmp_path, view)
    for row, column, back in ((None, None, True), (4, 3, True), (4, 3, False)):
        token = 0
        if row is not None:
            page.mouse.click(*at(page, row, column))
            token = 1 + 8 * row + column
            page.get_by_role("button", name="looks at" if back else "is looked at").click()
        shares = followed(weights, token, back)
        if back:
            assert_close(shares[0], joined["rollout"][token], atol=0.005, rtol=0)
        in_class_token = [text[4:] for text in page.locator(".vv-stage").all_inner_texts()]
        in_class_token = [float(text.split("cls")[1]) for text in in_class_token]
        assert_close(
            torch.tensor(in_class_token), torch.stack(shares)[:, 0].float(), atol=0.006, rtol=0
        )
        end = shares[0 if back else -1][1:]
        where, share = end.argmax().item(), 100 * end.max()
        told = page.locator(".vv-flow + .vv-note").inner_text()
        verb = "gives most" if back else "has most of it"
        assert f"row {where // 8}, column {where % 8} {verb} ({share:.1f}%)" in told
    assert not faults
    page.context.close()


YELLOW = """(canvas) => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let found = 0;
    for (let i = 0; i < data.length; i += 4) found += data[i] === 253 && data[i + 1] === 231;
    return found;
}"""


def test_one_scale_for_all_small_maps_or_each_its_own(browser, tmp_path):
    view = show_attention(load_pretrained("digits-canvas"), canvas())
    weights, _ = tables(sent(view.text), 5, 4, 65)
    page, _ = opened(browser, tmp_path, view)
    small = page.locator(".vv-overview canvas")

    def yellow():
        return [small.nth(i).evaluate(YELLOW) > 0 for i in range(20)]

    assert all(yellow())
    page.get_by_role("button", name="all of them").click()
    tops = weights[:, :, 0, 1:].amax(dim=-1).flatten()
    assert [i for i, found in enumerate(yellow()) if found] == [tops.argmax().item()]
    assert f"{100 * tops.max():.1f}%" in page.locator(".vv-overview + .vv-row").inner_text()
    page.get_by_role("button", name="each small map").click()
    assert all(yellow())
    page.context.close()


def test_two_models_side_by_side(browser, tmp_path):
    trained = load_pretrained("digits-canvas")
    torch.manual_seed(0)
    untrained = VisionTransformer(trained.config)
    both = {"trained": trained, "untrained": untrained}
    view = show_attention(both, canvas(), box=(0, 0, 8, 8))
    page, faults = opened(browser, tmp_path, view, viewport={"width": 1280, "height": 900})
    halves = [page.get_by_role("region", name=name, exact=True) for name in both]
    halves[0].wait_for()
    weights = [tables(data, 5, 4, 65)[0] for data in sent(view.text)["pair"]]

    def check(start, layer, token):
        for half, some in zip(halves, weights, strict=True):
            assert said(half).startswith(start)
            for line in listed(some[layer].mean(dim=0)[token, 1:]):
                assert line in said(half)

    check("Layer 5, mean of heads: the class token", 4, 0)
    page.mouse.move(*at(halves[1], 4, 3))
    check("Layer 5, mean of heads: row 4, column 3", 4, 1 + 4 * 8 + 3)
    page.mouse.move(0, 0)
    check("Layer 5, mean of heads: the class token", 4, 0)
    page.mouse.click(*at(halves[1], 4, 3))
    page.mouse.move(0, 0)
    page.get_by_label("layer", exact=True).select_option("1")
    check("Layer 2, mean of heads: row 4, column 3", 1, 1 + 4 * 8 + 3)
    halves[0].locator(".vv-picture").focus()
    page.keyboard.press("l")
    check("Layer 3, mean of heads: row 4, column 3", 2, 1 + 4 * 8 + 3)
    assert page.locator("img, .vv-box").count() == 4
    assert not faults
    page.context.close()
    for others in ({"one": trained}, {"one": trained, "two": load_pretrained("digits")}):
        with pytest.raises(
            ValueError, match="expected two models alike in grid, pooling, depth"
        ):
            show_attention(others, canvas())


def test_the_slider_is_as_tall_as_a_finger(browser, tmp_path):
    page, _ = opened(browser, tmp_path, show_patches(data.photograph("coffee", 96)))
    assert page.get_by_label("patch size").bounding_box()["height"] >= 44
    page.context.close()
