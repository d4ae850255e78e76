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


def fill(folder, counts, colours, size=(40, 30), mode="RGB"):
    """Class folders of pictures of one colour each."""
    for kind, count in counts.items():
        (folder / kind).mkdir(parents=True)
        for i in range(count):
            path = folder / kind / f"{i}.png"
            Image.new(mode, (size[0] + i, size[1]), colours[kind]).save(path)


def test_a_folder_alone_takes_its_own_recipe(tmp_path, capsys, monkeypatch):
    """Class folders in; then weights that know classes by name, whatever holds the pictures."""
    colours = {"dark": (20, 20, 20), "light": (230, 230, 230), "red": (200, 10, 10)}
    fill(tmp_path / "mine", dict.fromkeys(colours, 10), colours)
    monkeypatch.chdir(tmp_path)
    small = ["train.epochs=3", "train.rand_augment=[]", "train.erase=0", "model.depth=1"]
    main(["train", "--data", "mine", "--device", "cpu", "--set", *small])
    summary = json.loads(capsys.readouterr().out)
    run = tmp_path / "runs" / "own-pictures" / "seed0"
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["image_size"] == 64 and config["model"]["classes"] == 3
    assert (summary["training_images"], summary["held_out_images"]) == (24, 6)
    assert summary["held_out_is"] == "held out of the training set"
    (note,) = summary["notes"]
    assert note.startswith("6 of 30 pictures are held out")
    assert summary["test_accuracy_last_epoch"] == 1.0
    weights = str(run / "own-pictures.safetensors")
    main(["evaluate", weights])
    assert "100.00% (6 of 6 images of mine)" in capsys.readouterr().out
    fill(tmp_path / "new" / "test", {"light": 4, "red": 3}, colours)  # second and third
    main(["evaluate", weights, "--data", "new"])
    out = capsys.readouterr().out
    assert "100.00% (7 of 7" in out and "light" in out and "red" in out and "dark" not in out
    fill(
        tmp_path / "grey" / "val", {"dark": 2, "light": 2}, {"dark": 20, "light": 230}, mode="L"
    )
    main(["evaluate", weights, "--data", "grey"])
    assert "100.00% (4 of 4" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"pictures in test alone, enough for evaluate"):
        main(["train", "--data", "new", "--device", "cpu", "--out", "x"])


def test_a_model_that_is_no_square_sees_its_shape_in_every_command(tmp_path, capsys):
    """Only the outer columns of the picture tell the classes apart."""
    for split in ("train", "test"):
        for kind, colour in (("a", 0), ("b", 255)):
            (tmp_path / split / kind).mkdir(parents=True)
            image = Image.new("L", (64, 32), 128)
            image.paste(colour, (0, 0, 8, 32))
            for i in range(6):
                image.save(tmp_path / split / kind / f"{i}.png")
    settings = ["model.image_size=[16,32]", "train.epochs=8", "train.crop=0", "train.erase=0",
                "train.flip=false", "train.rand_augment=[]", "model.depth=1"]  # fmt: skip
    main(["train", "--data", str(tmp_path), "--out", str(tmp_path / "run"), "--device", "cpu",
          "--set", *settings])  # fmt: skip
    weights = str(tmp_path / "run" / "own-pictures.safetensors")
    main(["evaluate", weights])
    assert "100.00% (12 of 12" in capsys.readouterr().out
    paths = [str(tmp_path / "test" / kind / "0.png") for kind in "ab"]
    main(["predict", *paths, "--weights", weights])
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition(": ")[2][0] for line in lines] == ["a", "b"]


def test_evaluate_looks_at_the_names_of_classes(capsys):
    check_classes("w", ["cat", "dog"], "pets", ["cat", "dog"])
    assert capsys.readouterr().out == ""
    check_classes("w", ["cat", "dog"], "pets", ["cat", "hound"])
    assert "note: what the weights call 'dog', pets calls 'hound'" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"tells 3 classes apart \(a, b, c, …\), pets has 2"):
        check_classes("w", ["a", "b", "c"], "pets", ["cat", "dog"])
    assert check_classes("w", ["cat", "dog", "eel"], "pets", ["eel", "cat"]) == [2, 0]
    assert "note" not in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"\(cat, dog, …\), pets has 2 \(dog, hound, …\)"):
        check_classes("w", ["cat", "dog"], "pets", ["dog", "hound"])


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
        (["train", "--set", "data=nowhere"], "'nowhere' is neither a known data set"),
        (
            ["train", "--data", "mnist"],
            "name a recipe to train on 'mnist': mini-vit-mnist, vit-",
        ),
        (["train", "--data", "cifar100"], "to train on 'cifar100': own-pictures; python -m"),
        (["evaluate", "cifar"], "no weights are called 'cifar'"),
        (["predict", "missing.png", "--weights", "digits"], "missing.png"),
        (["evaluate", "digits", "--device", "nope"], "no device 'nope' here"),
        (["train", "bad.yaml"], "bad.yaml is not YAML: "),
        (["train", "--resume", "--out", "typo"], "nothing to resume: typo does not exist"),
    ],
)
def test_mistakes_end_in_one_line(command, message, tmp_path, monkeypatch):
    (tmp_path / "bad.yaml").write_text("data: [digits\ntrain: {")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(command)
    assert end.value.code.startswith("error: ") and message in end.value.code


def test_a_mistake_ends_a_process_with_1_and_its_line(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "vitbook", "train", "digit"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1 and run.stderr.startswith("error: no recipe is called 'digit'")
    assert "Traceback" not in run.stderr


PAGES = ("ascii", "cp437", "cp850", "cp932", "latin-1", "koi8-r")


def test_every_console_is_written_to(tmp_path):
    """Letters that a console does not know become ?; a name of a class may have any.

    One process for all consoles: each time its streams begin anew, and strict.
    """
    names = ["é", "猫", "–", "Ω", "я", *"abcde"]
    save_weights(tmp_path / "w.safetensors", VisionTransformer(preset("digits")), classes=names)
    Image.new("L", (8, 8)).save(tmp_path / "猫.png")
    commands = [
        ["recipes"], ["--help"], ["train", "猫–Ω"],
        ["predict", "猫.png", "--weights", "w.safetensors"], ["predict", "–.png"],
    ]  # fmt: skip
    script = (
        "import sys\n"
        "from vitbook.__main__ import main\n"
        f"for page in {PAGES!r}:\n"
        f"    for command in {commands!r}:\n"
        "        for stream in (sys.stdout, sys.stderr):\n"
        "            stream.reconfigure(encoding=page, errors='strict')\n"
        "        try: main(command); print('ended 0')\n"
        "        except SystemExit as end:\n"
        "            print(end.code or ''); print('ended', int(bool(end.code)))"
    )
    (tmp_path / "all.py").write_text(script, "utf-8")
    run = subprocess.run(
        [sys.executable, "all.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
    )
    assert run.returncode == 0 and b"Traceback" not in run.stderr, run.stderr
    ends = [line.split()[1] for line in run.stdout.splitlines() if line.startswith(b"ended ")]
    assert ends == [b"0", b"0", b"1", b"0", b"1"] * len(PAGES)


def test_whoever_has_no_home(tmp_path):
    """As in a container with a user that nobody has entered anywhere."""
    commands = [
        ["recipes"],
        ["evaluate", "digits"],
        ["train", "digits", "--set", "train.epochs=1"],
        ["train", "mini-vit-mnist"],  # whose data would lie below the home folder
    ]
    script = (
        "import os, sys, pwd\n"
        "for name in ('HOME', 'USER', 'LOGNAME', 'VITBOOK_DATA'): os.environ.pop(name, None)\n"
        "pwd.getpwuid = {}.__getitem__\n"  # knows nobody
        f"from vitbook.__main__ import main\nfor command in {commands!r}: main(command)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1 and "Traceback" not in run.stderr, run.stderr
    assert "'mnist'" in run.stderr.splitlines()[-1]  # only the last one's
    assert "there is none" in run.stderr and "set VITBOOK_DATA" in run.stderr
