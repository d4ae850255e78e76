"""Chapter 5's records of the digits hold together, and the chapter runs on other pictures."""

import json

import digits
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from notebooks import ROOT, bare, cells, definitions
from vitbook import training
from vitbook.training import TrainConfig

CHAPTER = ROOT / "notebooks/05_training.ipynb"


@pytest.mark.parametrize(
    "path, rows", [(digits.CHOICES, list(digits.CHANGES)), (digits.FEW, digits.ROWS)]
)
def test_each_row_has_its_draws(path, rows):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    made = {(line["row"], line["draw"]) for line in lines}
    assert made == {(row, draw) for row in rows for draw in digits.DRAWS}
    assert len(lines) == len(made)


def test_a_recorded_row_comes_out_again():
    row = "logistic regression, a quarter"
    lines = [json.loads(line) for line in digits.FEW.read_text().splitlines()]
    kept = [line["held_out_accuracy"] for line in lines if line["row"] == row]
    again = [digits.compared(row, draw)["held_out_accuracy"] for draw in digits.DRAWS]
    assert again == pytest.approx(kept, abs=0.003)  # one digit of 360


def test_the_chapter_and_the_script_have_the_same_network():
    torch.manual_seed(0)
    taught = definitions(CHAPTER)["small_cnn"]
    namespace = {"nn": torch.nn}
    exec(bare(taught), namespace)
    assert str(namespace["small_cnn"](1, 10)) == str(digits.small_cnn(1, 10))


def test_pixels_in_a_wrong_order_are_the_same_pixels():
    order = torch.tensor([3, 0, 2, 1, 5, 4])
    images = torch.randn(2, 1, 2, 3)
    seen = digits.WrongOrder(torch.nn.Identity(), order)(images)
    assert torch.equal(seen.flatten(2), images.flatten(2)[..., order])


PICTURES = [
    ("mnist", "L", 28, {"0": 23, "1": 29, "7": 31}),  # found under $VITBOOK_DATA
    ("mine", "RGB", 32, {"cat": 17, "dog": 31, "fish": 13}),  # given as a path
]


@pytest.mark.parametrize("name, mode, side, counts", PICTURES, ids=["mnist", "a folder"])
def test_the_chapter_runs_on_other_pictures(tmp_path, monkeypatch, name, mode, side, counts):
    """Every cell of chapter 5 with another NAME; two epochs for each training."""
    dice = np.random.default_rng(0)
    for split in ("train", "test"):
        for kind, count in counts.items():
            folder = tmp_path / name / split / kind
            folder.mkdir(parents=True)
            for i in range(count):
                noise = dice.integers(256, size=(side, side, 3), dtype=np.uint8)
                Image.fromarray(noise).convert(mode).save(folder / f"{i}.png")
    monkeypatch.setenv("VITBOOK_DATA", str(tmp_path))
    monkeypatch.setattr(
        training, "TrainConfig", lambda **changes: TrainConfig(**{**changes, "epochs": 2})
    )
    plt.switch_backend("agg")
    found, chosen = {"__name__": "chapter"}, name if name == "mnist" else str(tmp_path / name)
    for cell in cells(CHAPTER, "code"):
        source = cell.source.replace('NAME = "digits"', f"NAME = {chosen!r}")
        exec(compile(source, f"cell {cell.id}", "exec"), found)
        if cell.source.startswith("NAME"):
            assert found["data"].train.images.shape == (
                sum(counts.values()),
                len(mode),
                side,
                side,
            )
        if "hits =" in cell.source:  # by heart: the classes as they come
            assert len(set(found["labels"].tolist())) == 3 == found["n"]
        plt.close("all")
    assert found["table"].sum() == sum(counts.values())
    assert len(found["few"].train.labels) == sum(counts.values()) // 4
    assert found["recipe"]().flip == (mode == "RGB") and found["recipe"]().crop == side // 8
