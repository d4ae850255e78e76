"""The results page shows what the recorded runs hold, and the runs hold together."""

import csv
import json
import re
from dataclasses import asdict

import pytest
import results
import rival
import torch
import yaml
from patches import strips

from vitbook import patchify
from vitbook.training import known_recipes, read_recipe
from vitbook.training.recipes import renamed

RUNS = sorted(results.RUNS.glob("*/seed*"))
HOW = ("seed", "precision", "attention", "compile")  # what differs from device to device
PAGES = [results.ROOT / "README.md", *sorted(results.ROOT.glob("book/*.md"))]
PAGES += sorted(results.ROOT.glob("notebooks/*.ipynb"))
PAGES += sorted(results.ROOT.glob("vitbook/recipes/*.yaml"))


def test_the_page_is_drawn_from_the_runs(tmp_path, monkeypatch):
    made, cifar = results.parts()
    for page in results.PAGES:
        text = page.read_text()
        assert results.written(text, made) == text, "run python scripts/results.py"
    marks = "".join(page.read_text() for page in results.PAGES)
    assert all(f"<!-- end of {name} -->" in marks for name in made)
    results.ladder(cifar, tmp_path / "cifar10.svg")
    results.ablation_figure(tmp_path / "ablations.svg")
    results.fine_tuning.figure(tmp_path / "fine_tuning.svg")
    for figure in ("cifar10.svg", "ablations.svg", "fine_tuning.svg"):
        drawn = (tmp_path / figure).read_text()
        assert drawn == (results.FIGURES / figure).read_text(), "run python scripts/results.py"
    page = results.PAGES[0].read_text()
    made["published"] = made["published"].replace("60.4%", "61.4%")
    assert results.written(page, made) != page, "a changed run would not be noticed"


@pytest.mark.parametrize("run", RUNS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_run_holds_together(run):
    """History, summary and recipe agree; the last epoch is what is reported."""
    rows = list(csv.DictReader((run / "history.csv").read_text().splitlines()))
    summary = json.loads((run / "summary.json").read_text())
    assert [int(row["epoch"]) for row in rows] == list(range(1, len(rows) + 1))
    last = summary["test_accuracy_last_epoch"]
    assert float(rows[-1]["test_accuracy"]) == pytest.approx(last, abs=1e-6)
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["train"]["seed"] == int(re.match(r"seed(\d+)(-cpu)?$", run.name)[1])
    assert config["train"]["epochs"] == len(rows)
    assert summary["parameters"] > 0 and summary["seconds"] > 0 and summary["device"]
    assert not config.get("hold_out"), "a recorded run looks at the test set"
    recipe = read_recipe(run.parent.name)
    for key, value in renamed(config["train"], run).items():
        if key not in HOW:
            expected = getattr(recipe.train, key)
            assert value == (list(expected) if isinstance(expected, tuple) else expected), key
    assert config["model"] == asdict(recipe.model), "its preset has changed: run it again"
    if "held_out_images" in summary:
        shares = summary["class_accuracy"].values()
        assert abs(sum(shares) / len(shares) - last) < 0.02
        assert {"commit", "versions", "flops_per_image"} <= summary.keys()
        assert (run / "metrics.jsonl").exists()


SHORTER = sorted({*results.RUNS.glob("*/*/config.yaml")} - {*results.RUNS.glob("*/seed*/*")})


@pytest.mark.parametrize("config", SHORTER, ids=lambda path: "-".join(path.parts[-3:-1]))
def test_a_shorter_run_says_how_short_it_is(config):
    rows = list(csv.DictReader((config.parent / "history.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == list(range(1, len(rows) + 1))
    made, recipe = yaml.safe_load(config.read_text()), read_recipe(config.parts[-3])
    planned = made["train"]["epochs"]
    if config.parent.name == "stopped":
        assert len(rows) < planned == recipe.train.epochs
    else:
        assert config.parent.name == f"{planned}-epochs" and len(rows) == planned
        assert planned < recipe.train.epochs
    for key, value in made["train"].items():
        if key not in (*HOW, "epochs", "evaluate_every"):
            expected = getattr(recipe.train, key)
            assert value == (list(expected) if isinstance(expected, tuple) else expected), key
    assert made["model"] == asdict(recipe.model) and not made["hold_out"]
    assert recipe.name in results.PAGES[0].read_text()


def test_strips_are_what_mini_vit_cuts():
    """Unfold, then count on without moving the colours: 62 of 64 tokens have one colour."""
    images = torch.arange(2 * 3 * 32 * 32).view(2, 3, 32, 32)
    cut = images.unfold(2, 4, 4).unfold(3, 4, 4).reshape(2, 64, 48)
    assert torch.equal(patchify(strips(images, 4), 4), cut)
    colours = patchify(strips(torch.arange(3).view(1, 3, 1, 1).expand(1, 3, 32, 32), 4), 4)[0]
    assert sum(len(token.unique()) == 1 for token in colours) == 62


def test_the_work_of_an_ablation_is_counted_by_hand():
    """Half of the 64 tokens in three quarters of five epochs; a multiply-add is two."""
    d, patches, head = 64, 64 * 48 * 64, 64 * 10

    def forward(n):
        return patches + 4 * (12 * n * d * d + 2 * n * n * d) + head

    assert results.work([]) == 2 * 5 * (0.75 * forward(32) + 0.25 * forward(64))
    assert results.work(["train.keep=1.0", "train.epochs=3"]) == 2 * 3 * forward(64)


def test_the_edge_is_twice_the_noise_between_seeds(monkeypatch):
    pairs = {"as it is": (0.5, 0.52), "worse": (0.41, 0.41), "better": (0.6, 0.64)}
    runs = {
        row: [{"test_accuracy_last_epoch": hits} for hits in pair]
        for row, pair in pairs.items()
    }
    monkeypatch.setattr(results, "recorded_ablations", lambda: runs)
    _, edge = results.ablation_marks()
    assert edge == pytest.approx(2 * ((2 + 0 + 8) / 3) ** 0.5)  # variances in points²


def test_the_rival_is_resnet_20():
    """He et al. 2016, table 6: 0.27M parameters; counted by hand, with option B's shortcuts."""
    model = rival.resnet20()
    stem, inside = 3 * 9 * 16 + 2 * 16, 0
    for before, width in ((16, 16), (16, 32), (32, 64)):
        first = 9 * width * (before + width) + 2 * 2 * width
        short = (before * width + 2 * width) * (before != width)
        inside += first + short + 2 * (2 * 9 * width * width + 2 * 2 * width)
    assert sum(p.numel() for p in model.parameters()) == stem + inside + 64 * 10 + 10
    convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    assert sum(c.kernel_size == (3, 3) for c in convolutions) == 19  # and one linear layer
    sizes, images = [], torch.zeros(2, 3, 32, 32)
    for layer in model:
        images = layer(images)
        sizes.append(tuple(images.shape[1:]))
    assert sizes[0] == (16, 32, 32) and sizes[-4] == (64, 8, 8) and sizes[-1] == (10,)


def test_the_recorded_rival_holds_together():
    run = json.loads(results.RIVAL.read_text())
    history = run["history"]
    assert run["epochs"] == rival.EPOCHS == len(history)
    assert history[-1]["test_accuracy"] == pytest.approx(
        run["test_accuracy_last_epoch"], abs=1e-6
    )
    assert run["parameters"] == sum(p.numel() for p in rival.resnet20().parameters())


def test_the_rival_has_the_same_budget_and_data():
    ours, theirs = read_recipe(rival.BUDGET), rival.recipe()
    assert theirs.data == ours.data == "cifar10" and not theirs.hold_out
    for key in ("crop", "flip", "label_smoothing", "batch_size", "warmup", "schedule"):
        assert getattr(theirs.train, key) == getattr(ours.train, key)


def test_every_recipe_with_a_published_figure_is_in_the_table():
    page = results.PAGES[0].read_text()
    for name in known_recipes():
        if read_recipe(name).about:
            assert f"| `{name}` |" in page


def test_every_source_has_its_deviations():
    """All that are copied: recipes with a source, and presets counted against theirs."""
    section = results.PAGES[0].read_text().partition("## What the copies do otherwise")[2]
    table = [line.split(" | ") for line in section.partition("\n## ")[0].splitlines()]
    rows = [row for row in table if len(row) == 3 and all(cell.strip("| ") for cell in row)]
    said = [results.read_recipe(name).about.get("source") for name in known_recipes()]
    said += [preset["source"] for preset in results.PRESETS.values() if "theirs" in preset]
    sources = {re.split(r",| on MNIST", source)[0] for source in said if source}
    assert len(sources) == 7 and len(rows) > 2 * len(sources)
    for source in sources:
        assert any(source in row[0] for row in rows), f"no deviation of {source} is named"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_corrected_figure_is_never_quoted_alone(path):
    """mini-vit's author corrected 88% to 85%."""
    text = path.read_text("utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    for line in text.splitlines():
        if re.search("mini-vit|CIFAR", line):
            assert not re.search(r"\b88%", line) or re.search(r"\b85%", line), line


def test_what_a_row_would_cost_by_hand(monkeypatch):
    """Two epochs of 3 training pictures and 5 test pictures, at 7 operations a picture."""
    assert results.operations(7, 3, 5, 2) == 2 * (3 * 3 + 5) * 7
    run = {"flops_per_image": 7, "training_images": 3, "held_out_images": 5, "epochs": 2}
    monkeypatch.setattr(results, "summaries", lambda name: [run | {"processor_seconds": 11}])
    assert results.speed("some") == pytest.approx(196 / 11)
    monkeypatch.setattr(results, "speed", lambda name: 1e11)
    work = 100 * (3 * 50_000 + 10_000) * results.size(read_recipe("scratch-vit-cifar10"))[1]
    hours = results.core_hours("scratch-vit-cifar10")
    assert hours == pytest.approx(work / 1e11 / 3600)
    monkeypatch.setattr(results, "summaries", lambda name: [])
    monkeypatch.setattr(results, "shorter", lambda name: [])
    shown, best = results.reached("scratch-vit-cifar10")
    assert shown == f"not run: {hours:.0f} core-hours" and best == "–"


def test_no_row_says_only_that_it_was_not_run():
    page = results.PAGES[0].read_text()
    assert "not run yet" not in page
    for line in page.splitlines():
        if "not run" in line and line.startswith("| `"):
            assert re.search(r"not run: \d+ core-hours", line), line


def test_hints_are_the_rows_between_the_edge_and_twice_it(monkeypatch):
    pairs = {"as it is": (50, 52), "hint": (52.6, 54.6), "beyond": (40, 42), "none": (51, 53)}
    marks = {row: [float(seed) for seed in pair] for row, pair in pairs.items()}
    monkeypatch.setattr(results, "ablation_marks", lambda: (marks, 2.0))
    found = {row: [{"changes": []}] for row in marks}
    monkeypatch.setattr(results, "recorded_ablations", lambda: found)
    assert (
        "is a hint (hint);" in results.ablation() and "there are 3 rows" in results.ablation()
    )
