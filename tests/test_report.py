"""The page of a run: whole, right, and on its own."""

import html
import json
import re
import shutil

import pytest
import torch
from bs4 import BeautifulSoup
from conftest import ROOT
from torch.testing import assert_close

from vitbook import VisionTransformer, data, preset, record_attention
from vitbook.__main__ import main
from vitbook.data import normalize
from vitbook.explain import class_token_map, rollout
from vitbook.report import confusion, look, matrix, mistakes, report
from vitbook.training import load_weights, predict, save_weights

SHORT = ["--set", "train.epochs=2", "model.depth=2", "images=300", "--device", "cpu"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    main(["train", "--out", str(folder), *SHORT])
    return folder


def page(path):
    return BeautifulSoup(path.read_text("utf-8"), "html.parser")


def under(soup, title):
    """The text between a heading and the next one."""
    head = next(h for h in soup.find_all("h2") if h.text == title)
    parts = []
    for part in head.next_siblings:
        if part.name == "h2":
            break
        parts.append(part if isinstance(part, str) else part.get_text(" "))
    return " ".join(parts)


def test_the_page_shows_what_the_run_and_its_model_say(run, capsys):
    main(["report", str(run)])
    assert capsys.readouterr().out.strip() == str(run / "report.html")
    soup, summary = page(run / "report.html"), json.loads((run / "summary.json").read_text())
    assert f"{summary['test_accuracy_last_epoch']:.2%} right" in soup.p.text
    test = data.load("digits").test
    logits = predict(load_weights(run / "digits.safetensors"), test.images)
    chances, guess = logits.softmax(dim=1).max(dim=1)
    cells = [int(cell.text) for cell in soup.find("thead").parent.find_all("td")]
    counted = torch.zeros(10, 10, dtype=torch.int64)
    for label, answer in zip(test.labels, guess, strict=True):
        counted[label, answer] += 1
    assert cells == counted.flatten().tolist()
    for name, share in summary["class_accuracy"].items():
        assert re.search(rf"\b{name} {share:.1%}", under(soup, "Accuracy per class"))
    first = (chances * (guess != test.labels)).argmax()
    words = f"{test.labels[first]}, taken for {guess[first]}: {chances[first]:.1%}"
    assert soup.figcaption.text == words
    assert len(soup.find_all("figure")) == 12
    for part in (soup.figure.img, *soup.find_all("img")):
        assert part["alt"] and part["src"].startswith("data:image/png;base64,")
    assert "depth: 2" in soup.pre.text and summary["device"] in under(soup, "Device")
    label = soup.svg["aria-label"]
    assert "loss, training" in label and "accuracy, the test set" in label


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_asks_nobody_and_can_be_read(run, browser, theme):
    from axe_playwright_python.sync_playwright import Axe

    report(run)
    context = browser.new_context(color_scheme=theme, bypass_csp=True)
    view, asked, faults = context.new_page(), [], []
    view.on("request", lambda request: asked.append(request.url))
    view.on("console", lambda message: faults.append(message.text))
    view.goto((run / "report.html").as_uri())
    assert asked[0].startswith("file:") and len(asked) == 1
    assert view.evaluate("[...document.images].every(i => i.naturalWidth > 0)")
    assert faults == []
    found = Axe().run(view)
    assert found.violations_count == 0, found.generate_report()
    context.close()


def test_the_page_as_it_is_sends_nothing_and_says_nothing(run, browser):
    report(run)
    view, faults = browser.new_page(), []
    view.on("console", lambda message: faults.append(message.text))
    view.goto((run / "report.html").as_uri())
    assert view.evaluate("[...document.images].every(i => i.naturalWidth > 0)")
    assert faults == []
    view.close()


def test_a_recorded_run_says_what_cannot_be_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["report", "cifar10-cpu/seed0"])
    soup = page(tmp_path / capsys.readouterr().out.strip())
    why = (
        "Not shown: there is no cifar10-cpu.safetensors in the run; give weights by --weights."
    )
    assert why in under(soup, "Confusion")
    assert why in under(soup, "The most confident mistakes")
    assert "cat 66.4%" in under(soup, "Accuracy per class")
    assert "did not record train_accuracy and test_loss" in under(soup, "Curves")
    assert "did not note" in under(soup, "Left out")
    assert not (ROOT / "vitbook/runs/cifar10-cpu/seed0/report.html").exists()


def test_without_its_data_the_page_says_so(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    soup = page(report(copy, source=str(tmp_path / "gone")))
    assert "gone' is neither a known data set" in under(soup, "Confusion")


def test_classes_are_matched_by_name(run, tmp_path):
    """Weights that count their classes in another order give the same page."""
    copy = shutil.copytree(run, tmp_path / "run")
    model, order = load_weights(run / "digits.safetensors"), torch.arange(10).roll(3)
    with torch.no_grad():
        for weight in (model.head.weight, model.head.bias):
            weight.copy_(weight[order])
    names = [str(data.load("digits").classes[k]) for k in order]
    save_weights(copy / "digits.safetensors", model, data="digits", classes=names)
    one, two = (under(page(report(f)), "Accuracy per class") for f in (run, copy))
    assert one.split("asked")[0] == two.split("asked")[0]
    save_weights(copy / "digits.safetensors", model, classes=[*"abcdefghij"])
    assert "the weights know 10 classes (a, b, c, …), digits has 10 (0, 1, 2, …)" in under(
        page(report(copy)), "Confusion"
    )


def test_an_unfinished_run_and_what_went_otherwise(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    summary = json.loads((run / "summary.json").read_text())
    summary.update(
        notes=["3 files left out: <TIFF>"], skipped_steps=5, remarks=["from epoch 2 on cuda"],
        test_accuracy_raw_weights=0.125,
    )  # fmt: skip
    (copy / "summary.json").write_text(json.dumps(summary))
    soup = page(report(copy))
    for said in ("3 files left out: <TIFF>", "5 steps were skipped", "from epoch 2 on cuda"):
        assert said in under(soup, "Left out")
    assert "averaged weights; the last weights themselves: 12.50%" in soup.p.text
    (copy / "summary.json").unlink()
    soup = page(report(copy))
    assert "has not come to its end: 2 of 2 epochs" in soup.p.text
    assert "Not known" in under(soup, "Left out")


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="holds no run: expected a folder with config.yaml"):
        main(["report", str(tmp_path)])


def test_names_of_classes_are_text(run, tmp_path):
    hostile = "</script><img src=x onerror=alert(1)>"
    text = matrix(torch.eye(2, dtype=torch.int64), [hostile, "b"])
    assert hostile not in text and html.escape(hostile) in text


def test_pictures_may_stay_at_home(run, tmp_path):
    soup = page(report(run, tmp_path / "page.html", show=False))
    assert not soup.find_all("img")
    assert "must not hold pictures" in under(soup, "The most confident mistakes")
    assert len(soup.ol.find_all("li")) == 12


def test_confusion_and_mistakes_by_hand():
    guess, labels = torch.tensor([0, 2, 2, 1, 2]), torch.tensor([0, 2, 1, 1, 1])
    assert confusion(guess, labels, 3).tolist() == [[1, 0, 0], [0, 1, 2], [0, 0, 1]]
    chances = torch.tensor([[0.7, 0.3], [0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
    assert mistakes(chances, torch.tensor([1, 1, 1, 0])) == [1, 0, 3]


def test_of_many_classes_the_commonest_confusions_are_told():
    table = torch.eye(29, dtype=torch.int64) * 7
    table[3, 11], table[5, 2] = 13, 4
    text = matrix(table, [f"c{k}" for k in range(29)])
    told = re.findall(r"(c\d+), taken for (c\d+)</th><td>(\d+)", text)
    assert told == [("c3", "c11", "13"), ("c5", "c2", "4")]


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_the_map_is_the_class_tokens_or_rollout(pool):
    config = preset("digits", pool=pool, image_size=(6, 10), channels=3)
    model = VisionTransformer(config).eval()
    image = torch.randint(256, (3, 6, 10), dtype=torch.uint8)
    with torch.no_grad(), record_attention(model) as maps:
        model(normalize(image[None]))
    weights = maps.weights
    row = class_token_map(weights, grid=(3, 5)) if pool == "cls" else rollout(weights)
    map_ = row[0].mean(0)
    assert_close(look(model, image), (map_ / map_.max()).view(3, 5))


def test_the_sites_page_is_the_recorded_run_without_pictures():
    soup = page(ROOT / "book/_static/report-cifar10-cpu.html")
    summary = json.loads((ROOT / "vitbook/runs/cifar10-cpu/seed0/summary.json").read_text())
    assert f"{summary['test_accuracy_last_epoch']:.2%} right" in soup.p.text
    assert not soup.find_all("img")
    cells = [int(cell.text) for cell in soup.find("thead").parent.find_all("td")]
    assert sum(cells) == 10_000 and len(cells) == 100
    assert "_static/report-cifar10-cpu.html" in (ROOT / "book/results.md").read_text("utf-8")
