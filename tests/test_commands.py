"""python -m vitbook, as a user calls it."""

import csv
import json
import os
import subprocess
import sys

import pytest
import torch
import yaml
from conftest import ROOT
from PIL import Image

from vitbook import VisionTransformer, preset
from vitbook.__main__ import check_classes, main
from vitbook.training import load_weights, runs, save_weights

SHORT = ["--set", "train.epochs=2", "model.depth=1", "images=200", "--device", "cpu"]


def test_train_leaves_the_whole_record(tmp_path, capsys):
    main(["train", "--seed", "3", "--out", str(tmp_path), *SHORT])
    assert {p.name for p in tmp_path.iterdir()} - {"tensorboard"} == {
        "config.yaml", "history.csv", "metrics.jsonl", "summary.json",
        "digits.safetensors", "best.safetensors", "last.pt",
    }  # fmt: skip
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert config["train"]["seed"] == 3 and config["model"]["depth"] == 1
    rows = list(csv.DictReader((tmp_path / "history.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert json.loads(capsys.readouterr().out) == summary
    assert summary["test_accuracy_last_epoch"] == pytest.approx(
        float(rows[-1]["test_accuracy"]), abs=1e-6
    )
    assert summary["test_accuracy_best_epoch"] == pytest.approx(
        max(float(row["test_accuracy"]) for row in rows), abs=1e-6
    )
    assert summary["processor_seconds"] > 0
    assert summary["training_images"] == 200 and summary["held_out_is"] == "the test set"
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    chosen = {key: summary[key] for key in ("precision", "attention", "compiled")}
    assert lines[0] == {"step": 0, "epoch": 0, **chosen}
    assert summary["skipped_steps"] == 0 and summary["remarks"] == []
    assert lines[1]["step"] == 0 and lines[1]["loss"] > 1
    with pytest.raises(SystemExit, match=r"holds a run already; go on with it by --resume"):
        main(["train", "--out", str(tmp_path), *SHORT])


def test_flops_are_counted_by_hand():
    from vitbook import VisionTransformer, preset

    model = VisionTransformer(preset("digits"))
    n, d, hidden, c = 17, 48, 96, 10
    block = n * d * 3 * d + 2 * n * n * d + n * d * d + 2 * n * d * hidden
    macs = 16 * 4 * d + 3 * block + d * c
    assert runs.flops(model, torch.zeros(1, 1, 8, 8, dtype=torch.uint8)) == 2 * macs


def test_evaluate_and_predict(tmp_path, capsys):
    main(["evaluate", "digits"])
    out = capsys.readouterr().out
    assert "98.33% (354 of 360 images of digits)" in out and out.count("%") == 11
    weights = tmp_path / "w"
    main(["train", "--out", str(weights), *SHORT])
    for size, mode, name in (((30, 20), "RGBA", "a.png"), ((8, 8), "L", "b.jpg")):
        Image.new(mode, size).save(tmp_path / name)
    capsys.readouterr()
    images = [str(tmp_path / "a.png"), str(tmp_path / "b.jpg")]
    main(["predict", *images, "--weights", str(weights / "digits.safetensors")])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all(line.count("%") == 3 for line in lines)
    assert load_weights(weights / "best.safetensors").config.depth == 1


def test_train_on_ones_own_folder(tmp_path, capsys, monkeypatch):
    mine = tmp_path / "2024_01"  # to YAML this is the number 202401
    monkeypatch.chdir(tmp_path)
    for split, count in (("train", 12), ("val", 4)):
        for kind, colour in (("dark", 20), ("light", 230)):
            (mine / split / kind).mkdir(parents=True)
            for i in range(count):
                path = mine / split / kind / f"{i}.png"
                Image.new("RGB", (40 + i, 30), (colour, colour, colour)).save(path)
    out = tmp_path / "run"
    settings = ["train.epochs=4", "train.batch_size=8", "model.depth=1", "train.crop=0"]
    main(["train", "tinyvit-cifar10", "--data", mine.name, "--out", str(out),
          "--device", "cpu", "--set", *settings])  # fmt: skip
    summary = json.loads((out / "summary.json").read_text())
    assert summary["test_accuracy_last_epoch"] == 1.0
    assert list(summary["class_accuracy"]) == ["dark", "light"]
    capsys.readouterr()
    main(["evaluate", str(out / "tinyvit-cifar10.safetensors"), "--data", str(mine)])
    assert "100.00% (8 of 8 images" in capsys.readouterr().out


def test_evaluate_looks_at_the_names_of_classes(capsys):
    check_classes("w", ["cat", "dog"], "pets", ["cat", "dog"])
    assert capsys.readouterr().out == ""
    check_classes("w", ["cat", "dog"], "pets", ["cat", "hound"])
    assert "note: what the weights call 'dog', pets calls 'hound'" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"tells 3 classes apart \(a, b, c, …\), pets has 2"):
        check_classes("w", ["a", "b", "c"], "pets", ["cat", "dog"])


def test_evaluate_asks_for_data_that_weights_do_not_name(tmp_path):
    save_weights(tmp_path / "w.safetensors", VisionTransformer(preset("digits")))
    with pytest.raises(SystemExit, match=r"w\.safetensors does not say what it was trained on"):
        main(["evaluate", str(tmp_path / "w.safetensors")])


def test_recipes_is_a_table(capsys):
    main(["recipes"])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("tinyvit-cifar10") and "60.4%" in line for line in lines)
    assert any(line.startswith("digits ") and "98.2% (5)" in line for line in lines)


@pytest.mark.parametrize(
    "command, message",
    [
        (["train", "digit"], "no recipe is called 'digit'"),
        (["train", "--set", "train.epoch=1"], "did you mean 'epochs'"),
        (["train", "--data", "nowhere"], "'nowhere' is neither a known data set"),
        (["evaluate", "cifar"], "no weights are called 'cifar'"),
        (["predict", "missing.png", "--weights", "digits"], "missing.png"),
        (["evaluate", "digits", "--device", "nope"], "no device 'nope' here"),
        (["train", "bad.yaml"], "bad.yaml is not YAML: "),
        (["train", "--resume", "--out", "typo"], "nothing to resume: typo does not exist"),
    ],
)
def test_mistakes_end_in_one_line(command, message, tmp_path):
    (tmp_path / "bad.yaml").write_text("data: [digits\ntrain: {")
    run = subprocess.run(
        [sys.executable, "-m", "vitbook", *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1 and message in run.stderr
    assert run.stderr.startswith("error: ") and "Traceback" not in run.stderr


@pytest.mark.parametrize("page", ["ascii", "cp437", "cp850", "cp932", "latin-1", "koi8-r"])
def test_every_console_is_written_to(page, tmp_path):
    """Letters that a console does not know become ?; a name of a class may have any."""
    names = ["é", "猫", "–", "Ω", "я", *"abcde"]
    save_weights(tmp_path / "w.safetensors", VisionTransformer(preset("digits")), classes=names)
    Image.new("L", (8, 8)).save(tmp_path / "猫.png")
    commands = [
        ["recipes"], ["--help"], ["train", "猫–Ω"],
        ["predict", "猫.png", "--weights", "w.safetensors"], ["predict", "–.png"],
    ]  # fmt: skip
    script = "import sys; from vitbook.__main__ import main; main(sys.argv[1:])"
    for command in commands:
        run = subprocess.run(
            [sys.executable, "-c", script, *command],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": page},
            capture_output=True,
        )
        assert b"Traceback" not in run.stderr, run.stderr.decode(page)
        assert run.returncode == (command[0] == "train" or command[-1] == "–.png")
