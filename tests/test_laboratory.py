"""The model in the page: the same numbers as PyTorch's, and a page that stays alive."""

import json
import os
import re
import shutil
import sys
from contextlib import suppress

import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT
from test_benchmarks import benchmark
from test_site import SITE, until, visit

from vitbook import VisionTransformer, ViTConfig, load_pretrained, record_attention
from vitbook.data import load, normalize
from vitbook.training import loop, recorded_runs

LIVE = SITE / "_static/live"
PAGE = "book/laboratory.html"
ATTENTION_MAPS = "notebooks/06_attention_maps.html"
pytestmark = pytest.mark.skipif(
    not (LIVE / "jax/index.js").exists(), reason="no engine: npm was missing at make book"
)
NEAR = 1e-4


@pytest.fixture
def lab(browser, address):
    """The laboratory, opened; `given` lays large arrays beside the site for its scripts."""
    view, faults = visit(browser, address, PAGE, "light", 1280)
    view.files = SITE / f"given-{os.getpid()}"
    view.files.mkdir(exist_ok=True)
    shutil.copy(ROOT / "tests/laboratory.mjs", view.files)
    beside = f"{address}/{view.files.name}/"
    view.route(
        "**/given/*",
        lambda route: route.continue_(url=beside + route.request.url.rsplit("/", 1)[1]),
    )
    view.meant = "nothing"
    yield view
    assert not [fault for fault in faults if view.meant not in fault]
    view.context.close()
    shutil.rmtree(view.files)


def asked(view, name, *arguments):
    """What a function of tests/laboratory.mjs gives."""
    call = "async ([name, some]) => (await import('/given/laboratory.mjs'))[name](...some)"
    return view.evaluate(call, [name, list(arguments)])


def laid(tensor):
    """As the page keeps it: matrices lie the other way."""
    return tensor.T if tensor.ndim == 2 else tensor


def given(view, **tensors):
    for name, tensor in tensors.items():
        content = tensor.detach().contiguous().float().numpy().tobytes()
        (view.files / name).write_bytes(content)


@pytest.mark.parametrize("name", ["digits", "digits-canvas", "cifar10"])
def test_a_shipped_model_says_and_looks_as_in_pytorch(lab, name):
    model = load_pretrained(name)
    config = model.config
    images = torch.rand(100, config.channels, *config.image_shape) * 2 - 1
    with torch.no_grad(), record_attention(model) as recorded:
        logits = model(images)
    given(lab, images=images, logits=logits, looks=recorded.weights)
    logits_off, looks_off = asked(lab, "same", name, list(images.shape))
    print(f"{name}: logits differ by {logits_off:.1e} at most, weights by {looks_off:.1e}")
    assert logits_off < NEAR and looks_off < NEAR
    assert logits_off > 0 or looks_off > 0, (
        "two machines that agree in every bit: the same one?"
    )


@pytest.mark.parametrize(
    "pool, position", [("cls", "sincos"), ("cls", "learned"), ("mean", "none")]
)
def test_it_learns_as_pytorch_does(lab, pool, position):
    """Loss, every gradient, and the weights after ten steps of AdamW, decayed and clipped."""
    config = ViTConfig(
        8, 2, 1, 10, dim=12, depth=2, heads=3, mlp_dim=20, pool=pool, position=position
    )
    model, split, batch, steps = VisionTransformer(config), load("digits").train, 29, 10
    names = list(model.state_dict())
    fixed = ["embeddings.position"] if position != "learned" else []
    start = {k: v.clone() for k, v in model.state_dict().items()}
    settings = loop.TrainConfig(label_smoothing=0.1, clip=1.0)
    optimizer = torch.optim.AdamW(loop.parameter_groups(model, 0.3), lr=0.004)
    for k in range(steps):
        some = slice(batch * k, batch * (k + 1))
        images, labels = split.images[some], split.labels[some]
        targets = F.one_hot(labels, 10) * 0.9 + 0.01
        targets[batch - k :] = 0  # images that only fill the batch up
        given(lab, **{f"images{k}": normalize(images), f"targets{k}": targets})
        real = slice(0, batch - k)
        if k == 0:
            model.zero_grad()
            loss = F.cross_entropy(model(normalize(images)), labels, label_smoothing=0.1)
            loss.backward()
            first = loss.item()
            for i, name in enumerate(names):
                gradient = model.get_parameter(name).grad
                if gradient is not None:
                    given(lab, **{f"gradient{i}": laid(gradient)})
        loop.train_step(model, optimizer, images[real], labels[real], settings, 0.004)
    for i, name in enumerate(names):
        given(
            lab, **{f"start{i}": laid(start[name]), f"end{i}": laid(model.state_dict()[name])}
        )
    shapes = [list(laid(start[name]).shape) for name in names]
    about = (vars(config), names, shapes, fixed, steps, batch, 0.3, 1.0)
    found = asked(lab, "learn", *about)
    assert found["gradients"].keys() == set(names) - set(fixed) == found["weights"].keys()
    worst = {kind: max(found[kind].values()) for kind in ("gradients", "weights")}
    print(f"{pool}, {position}: {worst}, of each tensor's size")
    assert abs(found["loss"] - first) < NEAR * first
    assert worst["gradients"] < NEAR
    assert worst["weights"] < NEAR


def test_three_recorded_trainings_end_where_chapter_5_s_do():
    """They take minutes each, so they are recorded, with a mark of the modules they ran."""
    laboratory = benchmark("laboratory")
    record = json.loads(laboratory.RECORD.read_text("utf-8"))
    assert record["mark"] == laboratory.mark(), (
        "a module has changed: .venv/bin/python benchmarks/laboratory.py --record 0 1 2"
    )
    there = [run[-1]["test_accuracy"] for run in recorded_runs("digits")]
    assert record["epochs"] == len(recorded_runs("digits")[0])
    here = record["test_accuracy_last_epoch"].values()
    assert len(here) >= 3
    assert all(abs(share - sum(there) / len(there)) < 0.02 for share in here)


def press(view, name):
    view.get_by_role("button", name=name, exact=True).click()


def says(view, bench):
    return view.locator(f"#lab-{bench} .lab-says")


def test_a_model_begins_learns_and_is_asked(lab):
    """Thirty steps, a pause, one single step; then the same model answers what is drawn."""
    press(lab, "Train")
    says(lab, "learning").filter(has_text=re.compile(r"step [3-9]\d of 1380")).wait_for(
        timeout=60_000
    )
    press(lab, "Pause")
    at = int(re.search(r"step (\d+)", says(lab, "learning").inner_text())[1])
    lab.wait_for_timeout(600)
    at = int(re.search(r"step (\d+)", says(lab, "learning").inner_text())[1])
    press(lab, "One step")
    says(lab, "learning").filter(has_text=f"step {at + 1} of 1380").wait_for()
    assert lab.locator("#lab-learning .live").first.get_attribute("points").count(",") > 10
    assert lab.locator("#lab-learning canvas").count() == 1 + 3 + 1 + 1
    lab.locator("#lab-drawing select").select_option("trained")
    draw(lab)
    assert re.match(r"\d, with \d+%\.", says(lab, "drawing").inner_text())


def test_nothing_breaks_before_a_model_is_there(lab):
    press(lab, "Another digit")
    lab.wait_for_timeout(300)
    assert "Nothing has been trained yet" in says(lab, "learning").inner_text()


def test_other_digits_while_it_learns_are_a_new_epoch(lab):
    """From one batch an epoch to all of them, in the midst: no step is taken on nothing."""
    count = lab.locator("#lab-learning").get_by_label("training digits")
    count.fill("64")
    count.press("Enter")
    press(lab, "Start again")
    says(lab, "learning").filter(has_text="Nothing learned yet").wait_for(timeout=30_000)
    for _ in range(3):
        press(lab, "One step")
    says(lab, "learning").filter(has_text="step 3 of 60,").wait_for(timeout=60_000)
    count.fill("1437")
    count.press("Enter")
    press(lab, "One step")
    says(lab, "learning").filter(has_text=f"step 4 of {3 + 57 * 23},").wait_for(timeout=30_000)
    assert says(lab, "learning").inner_text().startswith("Epoch 4,")  # three have passed
    loss = re.search(r"loss (\S+?),", says(lab, "learning").inner_text() + ",")[1]
    assert 0.5 < float(loss.rstrip(".")) < 4


def test_fewer_digits_while_it_learns_keep_it_going(lab):
    """Twelve steps of two an epoch, then one an epoch: 54 epochs are left, and 54 steps."""
    count = lab.locator("#lab-learning").get_by_label("training digits")
    count.fill("128")
    count.press("Enter")
    press(lab, "Start again")
    says(lab, "learning").filter(has_text="Nothing learned yet").wait_for(timeout=30_000)
    for done in range(1, 13):
        press(lab, "One step")
        says(lab, "learning").filter(has_text=f"step {done} of 120").wait_for(timeout=60_000)
    count.fill("64")
    count.press("Enter")
    says(lab, "learning").filter(has_text=f"step 12 of {12 + 54},").wait_for()
    line = lab.locator("#lab-learning .live")
    drawn = [line.nth(k).get_attribute("points") for k in (0, 1)]
    press(lab, "Train")
    says(lab, "learning").filter(has_text="Epoch 60, step 66 of 66").wait_for(timeout=90_000)
    lab.get_by_role("button", name="Train", exact=True).wait_for()
    for k, before in enumerate(drawn):  # what had been drawn has not moved
        assert line.nth(k).get_attribute("points").startswith(before) and before


def test_steps_of_the_model_before_are_not_this_ones(lab):
    """A new model in the midst of a training: its curves begin with its own first step."""
    learning = lab.locator("#lab-learning")
    press(lab, "Train")
    says(lab, "learning").filter(has_text=re.compile(r"step \d+ of 1380")).wait_for(
        timeout=60_000
    )
    for width in ("24", "48", "24"):
        learning.get_by_label("width").select_option(width)
        says(lab, "learning").filter(has_text="Nothing learned yet").wait_for(timeout=30_000)
        lab.wait_for_timeout(400)  # a step of the one before would be told now
        assert "Nothing learned yet" in says(lab, "learning").inner_text()
        assert not learning.locator(".live").first.get_attribute("points")
        press(lab, "Train")
        says(lab, "learning").filter(has_text=re.compile(r"step \d+ of 1380")).wait_for(
            timeout=60_000
        )


def test_slowly_is_slow_from_the_first_step(lab):
    lab.get_by_label(re.compile("^pace")).select_option("slowly")
    press(lab, "Train")
    says(lab, "learning").filter(has_text=" of 1380").wait_for(timeout=60_000)

    def done():
        return int(re.search(r"step (\d+)", says(lab, "learning").inner_text())[1])

    before = done()
    lab.wait_for_timeout(2_000)
    assert 1 <= done() - before <= 2 / 0.2 + 2, "a fifth of a second lies between two steps"


def test_where_no_step_is_left_it_says_so(lab):
    learning = lab.locator("#lab-learning")
    count, blocks = (learning.get_by_label(name) for name in ("training digits", "blocks"))
    for field, typed, taken in ((count, "64.4", "64"), (blocks, "1.6", "2")):
        field.fill(typed)
        field.press("Enter")
        assert field.input_value() == taken
    learning.get_by_text("Blocks: 2 is taken, of 1 to 6.").wait_for()
    press(lab, "Train")
    says(lab, "learning").filter(has_text="step 60 of 60").wait_for(timeout=90_000)
    press(lab, "Train")
    says(lab, "learning").filter(has_text="60 steps are done").wait_for()
    assert lab.get_by_role("button", name="Train", exact=True).is_visible()
    count.fill("1437")
    count.press("Enter")
    press(lab, "One step")
    says(lab, "learning").filter(has_text="60 steps are done").wait_for()


ONES = {  # up, down, left, right; S sets the pen down and lifts it
    "straight": "U" * 14 + "S" + "D" * 28 + "S",
    "with a hook": "U" * 8 + "L" * 5 + "S" + "RU" * 5 + "D" * 26 + "S",
    "slanted": "U" * 13 + "RRR" + "S" + "DDDDL" * 6 + "S",
    "with a base": "U" * 13 + "S" + "D" * 26 + "L" * 5 + "R" * 10 + "S",
}
KEYS = {"U": "ArrowUp", "D": "ArrowDown", "L": "ArrowLeft", "R": "ArrowRight", "S": " "}


@pytest.mark.parametrize("way", ONES)
def test_a_one_is_read_as_a_one(lab, way):
    lab.locator(".lab-pad").focus()
    for key in ONES[way]:
        lab.keyboard.press(KEYS[key])
    says(lab, "drawing").filter(has_text="with").wait_for(timeout=30_000)
    lab.wait_for_timeout(1500)  # every stroke was answered; the last one counts
    assert says(lab, "drawing").inner_text().startswith("1, with")


def draw(view):
    """A zero, by the keyboard alone."""
    view.locator(".lab-pad").focus()
    to_corner = [*["ArrowUp"] * 10, *["ArrowLeft"] * 6]
    round_ = [*["ArrowRight"] * 12, *["ArrowDown"] * 20, *["ArrowLeft"] * 12, *["ArrowUp"] * 20]
    for key in (*to_corner, " ", *round_, " "):
        view.keyboard.press(key)
    says(view, "drawing").filter(has_text="with").wait_for(timeout=30_000)


def test_the_book_s_model_reads_what_is_drawn(lab):
    draw(lab)
    assert says(lab, "drawing").inner_text().startswith("0, with")
    press(lab, "Clear")
    assert says(lab, "drawing").inner_text() == "Draw a digit."


def scanned(dots):
    """The same by hand: cut out, brought to 32 × 32 in proportion, centred, counted."""
    rows, columns = dots.nonzero(as_tuple=True)
    form = dots[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    height, width = form.shape
    scale = max(height, width) / 32
    place = torch.arange(32) + 0.5
    y, x = ((place - (32 - n / scale) / 2) * scale for n in (height, width))
    inside = [(axis >= 0) & (axis < n) for axis, n in ((y, height), (x, width))]
    y, x = (axis.long().clamp(0, n - 1) for axis, n in ((y, height), (x, width)))
    fitted = form[y][:, x] * inside[0][:, None] * inside[1]
    return fitted.reshape(8, 4, 8, 4).sum(dim=(1, 3))


def test_a_drawing_is_scanned_as_the_digits_were(lab):
    dice = torch.Generator().manual_seed(0)
    drawings = []
    for height, width in ((32, 32), (16, 16), (7, 29), (31, 5), (1, 1)):
        dots = torch.zeros(32, 32, dtype=torch.long)
        form = (torch.rand(height, width, generator=dice) < 0.5).long()
        form[0], form[-1], form[:, 0], form[:, -1] = 1, 1, 1, 1
        dots[32 - height :, :width] = form
        drawings.append(dots)
    found = asked(lab, "scans", *(dots.flatten().tolist() for dots in drawings))
    for dots, counts in zip(drawings, found, strict=True):
        assert scanned(dots).flatten().tolist() == counts
    blocks = load("digits").test.images[0, 0].long() * 16 // 255  # a scan drawn at full size
    assert max(found[0]) <= 16 and blocks.max() <= 16


def opened(lab, model="digits-canvas"):
    lab.locator("#lab-opening select").first.select_option(model)
    says(lab, "opening").filter(has_text="with").wait_for(timeout=60_000)


def test_a_model_is_opened_and_changed(lab):
    """Covered, forbidden, silenced: each moves the answer; undone, it is what it was."""
    opened(lab)
    first = says(lab, "opening").inner_text()
    assert re.match(r"\d, with \d+%", first)
    assert lab.locator("#lab-opening .lab-lens tr").count() == 1 + 5
    for change in ("block", "head 1 0", "branch 0 0"):
        if change == "block":
            lab.get_by_label("press a patch to").select_option("cover")
            lab.locator(".lab-big").click(position={"x": 100, "y": 100})
        else:
            lab.get_by_label("silence").select_option(change)
        says(lab, "opening").filter(has_text="goes from").wait_for(timeout=20_000)
        press(lab, "Undo all")
        says(lab, "opening").filter(has_text=first).wait_for(timeout=20_000)
    for map_ in ("rollout", "relevance", "look"):
        lab.get_by_label(re.compile("^map")).select_option(map_)
        lab.wait_for_timeout(300)
    lab.locator(".lab-big").focus()
    lab.get_by_label("press a patch to").select_option("cut")
    lab.locator(".lab-big").focus()
    lab.keyboard.press("ArrowRight")
    lab.keyboard.press("Enter")
    says(lab, "opening").filter(has_text="goes from").wait_for(timeout=20_000)


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_sticks_out_and_nobody_is_shut_out_when_all_is_open(browser, address, width):
    from axe_playwright_python.sync_playwright import Axe

    view, faults = visit(browser, address, PAGE, "dark", width)
    opened(view)
    assert view.evaluate("document.documentElement.scrollWidth") <= width
    assert not faults
    found = Axe().run(view).response["violations"]
    assert not [(v["id"], [n["html"][:120] for n in v["nodes"]][:3]) for v in found]
    view.context.close()


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_maps_are_those_of_chapter_6(lab, pool):
    from vitbook import explain
    from vitbook.explain.gradients import relevance_of

    config = ViTConfig(6, 2, 1, 5, dim=12, depth=3, heads=2, mlp_dim=7, pool=pool)
    model = VisionTransformer(config)
    with record_attention(model, gradients=True) as recorded:
        model(torch.randn(1, 1, 6, 6))[0, 2].backward()
    looks = recorded.weights.detach()
    slopes = recorded.weight_gradients
    row = (
        (lambda table: table[0, 0, 1:])
        if pool == "cls"
        else (lambda table: table[0].mean(dim=0))
    )
    expected = {
        "last": row(looks[-1].mean(dim=1)),
        "rollout": row(explain.rollout(looks)),
        "relevance": row(relevance_of(looks, slopes) - torch.eye(config.tokens)),
    }
    about = {**vars(config), "tokens": config.tokens}
    found = asked(lab, "maps", looks.flatten().tolist(), slopes.flatten().tolist(), about)
    for name, values in expected.items():
        torch.testing.assert_close(torch.tensor(found[name]), values, rtol=1e-4, atol=1e-6)


BAD = {
    "empty.png": (b"", "empty.png is empty."),
    "words.png": (b"no picture at all", "words.png is no picture that this browser can read."),
    "huge.png": (
        bytes.fromhex("89504e470d0a1a0a0000000d49484452")
        + (10_000).to_bytes(4) * 2
        + b"\x08\x02\0\0\0",
        "huge.png has 100 million pixels; at most 50 million are read here.",
    ),
}


def test_what_is_no_picture_is_told_so_and_the_page_lives_on(lab, tmp_path):
    opened(lab)
    for name, (content, sentence) in BAD.items():
        (tmp_path / name).write_bytes(content)
        lab.locator("#lab-opening input[type=file]").set_input_files(tmp_path / name)
        says(lab, "opening").filter(has_text=sentence).wait_for(timeout=10_000)
    press(lab, "Camera")
    says(lab, "opening").filter(has_text="camera").wait_for(timeout=10_000)
    lab.get_by_label(re.compile("^picture")).select_option("canvas 2")
    says(lab, "opening").filter(has_text=re.compile(r"\d, with")).wait_for(timeout=20_000)


SHADE = """([x, y]) => document.querySelector(".lab-big").getContext("2d")
    .getImageData(x, y, 1, 1).data[0]"""


def test_moving_and_printers_pictures_are_read(lab, tmp_path):
    """Of an animation the first picture; a JPEG of four inks as well."""
    from PIL import Image

    opened(lab)
    first, second = (Image.new("L", (40, 40), shade) for shade in (0, 255))
    first.save(tmp_path / "moving.gif", save_all=True, append_images=[second], duration=50)
    Image.new("CMYK", (40, 40), (0, 0, 0, 255)).save(tmp_path / "inks.jpg")
    lab.get_by_label(re.compile("^map")).select_option("none")
    for name in ("moving.gif", "inks.jpg"):
        lab.get_by_label(re.compile("^picture")).select_option("canvas 2")
        lab.locator("#lab-opening input[type=file]").set_input_files(tmp_path / name)
        lab.wait_for_timeout(1500)
        assert lab.get_by_label(re.compile("^picture")).input_value() == "your own"
        assert lab.evaluate(SHADE, [128, 128]) < 60, name


def test_the_later_model_and_the_later_picture_count(lab):
    """A file that is slow to come opens nothing, once another model was chosen."""
    from playwright.sync_api import Error

    slow, models = [], lab.locator("#lab-opening select").first
    lab.route("**/cifar10.safetensors", lambda route: slow.append(route))
    models.select_option("cifar10")
    until(lab, "document.querySelector('#lab-opening .lab-says')")
    opened(lab)
    assert "It knows 10 things: 0, 1," in lab.locator("#lab-opening").inner_text()
    (first,) = slow
    with suppress(Error):  # the page has let go of it
        first.continue_()
    lab.wait_for_timeout(1500)
    assert "It knows 10 things: 0, 1," in lab.locator("#lab-opening").inner_text()
    pictures = lab.get_by_label(re.compile("^picture"))
    for one in ("canvas 2", "canvas 3", "canvas 1"):  # faster than it can answer
        pictures.select_option(one)
    lab.wait_for_timeout(1500)
    assert "Now change something" in says(lab, "opening").inner_text()
    shown = lab.locator("#lab-opening .lab-bar").all_inner_texts()
    assert len(shown) == 8 and shown[:4] == shown[4:], "nothing was changed, and it says so"
    models.select_option("")
    assert not lab.locator("#lab-opening canvas").first.is_visible()


def test_a_turned_photograph_is_upright(lab, tmp_path):
    """EXIF says: turn by a quarter. The upper half is black then, the lower white."""
    from PIL import Image

    opened(lab)
    turned = Image.new("L", (80, 80), 255)
    turned.paste(0, (0, 0, 40, 80))  # the left half; upright it is the upper one
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    lab.locator("#lab-opening input[type=file]").set_input_files(tmp_path / "turned.jpg")
    says(lab, "opening").filter(has_text=re.compile(r"\d, with")).wait_for(timeout=20_000)
    lab.get_by_label(re.compile("^map")).select_option("none")
    lab.wait_for_timeout(300)
    assert lab.evaluate(SHADE, [128, 40]) < 40 and lab.evaluate(SHADE, [128, 200]) > 215


def test_without_scripts_or_a_server_it_shows_what_was_computed(browser, address):
    for where, scripts in ((f"{address}/{PAGE}", False), ((SITE / PAGE).as_uri(), True)):
        context = browser.new_context(java_script_enabled=scripts)
        view = context.new_page()
        view.goto(where)
        assert view.locator(".lab-needs").is_visible()
        assert "make serve" in view.locator(".lab-needs").inner_text()
        assert view.locator("#lab-learning").inner_text() == ""
        assert view.locator("article img").count() >= 2
        context.close()


def test_a_lost_line_is_told_and_can_be_tried_again(lab):
    lab.meant = "ERR_FAILED"
    lab.route("**/digits-canvas.safetensors", lambda route: route.abort())
    lab.locator("#lab-opening select").first.select_option("digits-canvas")
    says(lab, "opening").filter(has_text="Choose the model again").wait_for(timeout=10_000)
    lab.unroute("**/digits-canvas.safetensors")
    opened(lab)


def test_without_webassembly_one_sentence_says_so(lab):
    worker = (LIVE / "worker.mjs").read_text("utf-8")
    blind = "globalThis.WebAssembly = undefined;\n" + worker
    kind = "text/javascript"
    lab.route("**/worker.mjs", lambda route: route.fulfill(body=blind, content_type=kind))
    press(lab, "Train")
    says(lab, "learning").filter(has_text="This browser has no WebAssembly").wait_for()
    assert lab.get_by_role("button", name="Train", exact=True).is_visible()


@pytest.mark.parametrize("first", ["a picture", "words"])
def test_of_two_pictures_the_later_one_counts(lab, tmp_path, first):
    """The first takes long to come; it must not push the second away."""
    from PIL import Image

    opened(lab)
    for name, shade in (("first.png", 0), ("second.png", 255)):
        Image.new("L", (64, 64), shade).save(tmp_path / name)
    if first == "words":
        (tmp_path / "first.png").write_bytes(b"no picture at all")
    lab.evaluate("""() => {
        const made = window.createImageBitmap.bind(window);
        let calls = 0;
        window.createImageBitmap = async (...some) => {
            if (calls++ === 0) await new Promise((go) => setTimeout(go, 1500));
            return made(...some);
        };
    }""")
    for name in ("first.png", "second.png"):
        lab.locator("#lab-opening input[type=file]").set_input_files(tmp_path / name)
    lab.wait_for_timeout(3000)
    assert re.match(r"\d, with", says(lab, "opening").inner_text())
    lab.get_by_label(re.compile("^map")).select_option("none")
    lab.wait_for_timeout(300)
    assert lab.evaluate(SHADE, [128, 128]) > 250


def test_settings_out_of_range_are_held_and_remarks_link_to_chapters(lab):
    learning = lab.locator("#lab-learning")
    rate = learning.get_by_label("learning rate")
    rate.fill("0.04")
    rate.press("Enter")
    assert "Why rates have a limit" in learning.locator(".lab-wrong").inner_text()
    rate.fill("-5")
    rate.press("Enter")
    assert rate.input_value() == "0" and learning.locator(".lab-wrong").count() == 0
    learning.get_by_label("heads").select_option("6")
    learning.get_by_label("width").select_option("96")
    assert "divisible" not in says(lab, "learning").inner_text()


def test_the_pencil_follows_the_formula(lab):
    table = lab.locator("#lab-pencil table")
    before = table.inner_text()
    q, k = torch.tensor([1.5, 0.5]), torch.tensor([[1, 1], [-1.5, 0.5], [0, -1.5]])
    weights = (k @ q / 2**0.5).softmax(0)
    assert all(f"{weight:.0%}" in before for weight in weights)
    lab.locator("#lab-pencil circle[tabindex]").first.focus()
    lab.keyboard.press("ArrowRight")
    weights = (k @ torch.tensor([1.6, 0.5]) / 2**0.5).softmax(0)
    row = table.locator("tr").nth(1).locator("td").all_inner_texts()
    assert row[3:6] == [f"{weight:.0%}" for weight in weights]


@pytest.mark.parametrize(
    "page, bench, shown",
    [
        ("notebooks/03_attention.html", "pencil", "temperature"),
        ("notebooks/04_encoder.html", "stream", "The class token of the digits model"),
        (ATTENTION_MAPS, "opening", "Choose a model"),
    ],
)
def test_a_bench_opens_inside_its_chapter(browser, address, page, bench, shown):
    """Nothing comes before the reader presses; the keyboard goes on where it was."""
    view, faults = visit(browser, address, page, "light", 1280)
    for show in view.get_by_role("button", name="Show me").all():
        show.click()  # the chapter's predictions, below which it waits
    brought = []
    view.on("request", lambda request: brought.append(request.url))
    here = view.locator(f"#lab-{bench}")
    here.scroll_into_view_if_needed()
    assert not [url for url in brought if "/live/" in url]
    button = here.get_by_role("button", name="Open it here")
    button.focus()
    view.keyboard.press("Enter")
    here.filter(has_text=shown).wait_for()
    assert here.evaluate("(bench) => bench === document.activeElement")
    assert button.count() == 0
    if bench == "opening":
        here.locator("select").first.select_option("digits-canvas")
        here.locator(".lab-says", has_text="Now change something").wait_for()
    assert not faults
    view.context.close()


def test_every_page_allows_only_itself():
    """No page lets scripts in but its own; one changed letter changes a hash."""
    sys.path.insert(0, str(ROOT / "book/_ext"))
    import policy

    for page in sorted(SITE.rglob("*.html")):
        if "_static" in page.parts:
            continue
        html = page.read_text("utf-8")
        wasm = page.relative_to(SITE).as_posix() in (PAGE, ATTENTION_MAPS)
        meta = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', html)
        assert meta and html.count("Content-Security-Policy") == 1, page
        assert ("wasm-unsafe-eval" in meta[1]) == wasm, page
        assert "'unsafe-eval'" not in meta[1] and "http" not in meta[1], page
        assert html.index(meta[0]) < html.find("<script") % len(html), page
    assert policy.policy("<script>a</script>") != policy.policy("<script>b</script>")


def test_what_is_not_allowed_is_refused(lab):
    refused = """() => new Promise((go) => {
        document.addEventListener("securitypolicyviolation", (e) => go(e.violatedDirective));
        const script = document.createElement("script");
        script.textContent = "window.planted = 1";
        document.body.append(script);
    })"""
    context = lab.context.browser.new_context()
    view = context.new_page()
    view.goto(lab.url)
    assert view.evaluate(refused).startswith("script-src")
    assert view.evaluate("window.planted") is None
    context.close()
