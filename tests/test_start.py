"""Trainings that start from given weights: what is taken over, how fast it moves, resuming."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from test_published import timms
from torch.testing import assert_close

from vitbook import VisionTransformer, data, load_pretrained, preset
from vitbook.__main__ import main
from vitbook.compat import load_torchvision
from vitbook.training import predict, read_recipe, runs
from vitbook.training.engine import Engine, make_optimizers
from vitbook.training.start import fitted_to, read_start, take_over, told
from vitbook.training.weights import save_weights


def begun(classes, **changes):
    """A model that starts from the package's digits model, and what was filled."""
    start, _ = read_start("digits")
    known = [str(k) for k in range(10)]
    config = replace(fitted_to(start.config, start), classes=len(classes), **changes)
    torch.manual_seed(0)
    model = VisionTransformer(config).eval()
    return model, take_over(model, start, known, classes)


def test_the_head_goes_by_the_names_of_the_classes():
    images = torch.randn(3, 1, 8, 8)
    known = load_pretrained("digits")(images)
    model, filled = begun([str(k) for k in (7, 3, 5, 1, 0, 2, 9, 8, 4, 6)])
    assert_close(model(images), known[:, [7, 3, 5, 1, 0, 2, 9, 8, 4, 6]])
    assert set(filled) >= {"head.weight", "head.bias"}
    model, filled = begun(["3", "a cat", "0"])
    assert_close(model(images)[:, [0, 2]], known[:, [3, 0]])
    assert "head.weight" not in filled  # a part of it is new


def test_a_file_of_ours_knows_its_classes(tmp_path):
    save_weights(tmp_path / "w.safetensors", load_pretrained("digits"), classes=["no", "yes"])
    _, known = read_start(tmp_path / "w.safetensors")
    assert known == ["no", "yes"]


def test_other_sizes_and_colours():
    images = torch.randn(3, 1, 8, 8)
    known = load_pretrained("digits")(images)
    classes = [str(k) for k in range(10)]
    colour, _ = begun(classes, channels=3)
    assert_close(colour(images.expand(-1, 3, -1, -1)), known, rtol=1e-4, atol=1e-4)
    wide, _ = begun(classes, image_size=(8, 12))
    assert wide(torch.randn(2, 1, 8, 12)).shape == (2, 10)
    start, _ = read_start("cifar10")
    grey = VisionTransformer(replace(start.config, channels=1)).eval()
    take_over(grey, start, None, range(10))
    grey.head.load_state_dict(start.head.state_dict())
    images = torch.randn(2, 1, 32, 32)
    assert_close(grey(images), start(images.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_what_was_filled_moves_slower(optimizer):
    model, filled = begun(["a", "b", "c"])
    changes = [f"train.optimizer={optimizer}", "train.start_rate=0.25"]
    config = read_recipe("digits", changes).train
    slow, fast = [], []
    for made in make_optimizers(model, config, filled):
        for group in made.param_groups:
            (slow if group["factor"] == 0.25 else fast).extend(map(id, group["params"]))
    mine = dict(model.named_parameters())
    assert {id(mine[name]) for name in ("head.weight", "head.bias")} == set(fast)
    assert {id(p) for n, p in mine.items() if n in filled and p.requires_grad} == set(slow)


@pytest.mark.parametrize("source", ["digits", None])
def test_whitening_leaves_given_weights_alone(source):
    model, filled = begun(["a", "b", "c"], dim=48) if source else (None, ())
    model = model or VisionTransformer(read_recipe("digits").model)
    before = model.state_dict()["embeddings.patches.projection.weight"].clone()
    config = read_recipe("digits", ["train.whiten=true"]).train
    Engine(model, data.first(data.load("digits"), 130), config, filled=filled)
    after = model.state_dict()["embeddings.patches.projection.weight"]
    assert torch.equal(before, after) == bool(source)


def trained(folder, epochs=2, resume=False, **changes):
    texts = [f"train.{name}={value}" for name, value in changes.items()]
    texts += ["train.start=digits", f"train.epochs={epochs}", "train.precision=fp32"]
    recipe = read_recipe("digits", [*texts, "train.attention=fused", "train.clip=1.0"])
    few = data.first(data.load("digits"), 130)
    few = few._replace(classes=[f"the {name}" for name in few.classes])
    start, _ = read_start("digits")
    recipe = recipe._replace(model=fitted_to(recipe.model, start))
    runs.record(recipe, lambda: VisionTransformer(recipe.model), few, folder, resume, False)
    return recipe, torch.load(folder / "last.pt", weights_only=True)["model"]


def test_frozen_weights_stay(tmp_path):
    _, ends = trained(tmp_path, epochs=1, start_rate=0)
    start = load_pretrained("digits").state_dict()
    moved = {name for name in ends if not torch.equal(ends[name], start[name])}
    assert moved == {"head.weight", "head.bias"}
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["remarks"] == [
        "started from digits (3 blocks, width 48, 4 heads); its file names no classes; new: "
        "head.weight, head.bias"
    ]


def test_a_resumed_run_goes_on_and_does_not_start_again(tmp_path, monkeypatch):
    _, straight = trained(tmp_path / "straight")
    kept = runs.Record.epoch

    def killed(record, engine):
        kept(record, engine)
        raise KeyboardInterrupt

    monkeypatch.setattr(runs.Record, "epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut")
    monkeypatch.setattr(runs.Record, "epoch", kept)
    _, resumed = trained(tmp_path / "cut", resume=True)
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_from_a_timm_file_on_a_folder(tmp_path, monkeypatch, capsys):
    """A model of ImageNet's shape, from the command line to a picture's answer."""
    monkeypatch.setenv("VITBOOK_CACHE", str(tmp_path / "cache"))
    load_torchvision()
    theirs = pytest.importorskip("timm").create_model("vit_tiny_patch16_224")
    save_file(theirs.state_dict(), tmp_path / "vit.safetensors")
    dice = np.random.default_rng(0)
    for kind in ("cats", "dogs", "fish"):
        (tmp_path / "mine" / kind).mkdir(parents=True)
        for i in range(7):
            noise = dice.integers(256, size=(70, 90, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "mine" / kind / f"{i}.png")
    out, source = tmp_path / "run", str(tmp_path / "vit.safetensors")
    main(["train", "--data", str(tmp_path / "mine"), "--from", source, "--out", str(out),
          "--set", "train.epochs=1", "train.start_rate=0"])  # fmt: skip
    summary = json.loads((out / "summary.json").read_text())
    assert summary["remarks"] == [
        f"started from {source} (12 blocks, width 192, 3 heads); its file names no classes; "
        "new: head.weight, head.bias"
    ]
    main(["predict", str(tmp_path / "mine/cats/0.png"),
          "--weights", str(out / "own-pictures.safetensors")])  # fmt: skip
    assert any(kind in capsys.readouterr().out for kind in ("cats", "dogs", "fish"))
    with torch.no_grad():
        kept = torch.load(out / "last.pt", weights_only=True)["model"]
    assert_close(kept["blocks.1.mlp.fc2.weight"], theirs.blocks[1].mlp.fc2.weight.detach())


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_as_the_weights_want_them(channels):
    """Numbers by hand: the same logits, fed as each of the two wants it."""
    start = VisionTransformer(preset("digits", channels=channels)).eval()
    mean, std = [0.11, 0.31, 0.71][:channels], [0.23, 0.29, 0.37][:channels]
    start.normalisation = mean, std
    model = VisionTransformer(start.config).eval()
    take_over(model, start, range(10), range(10))
    images = torch.randint(256, (5, channels, 8, 8), dtype=torch.uint8)
    wanted = (images / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[
        :, None, None
    ]
    assert_close(predict(model, images), start(wanted), rtol=1e-5, atol=1e-5)


def test_what_was_known_by_name_is_told():
    start, _ = read_start("cifar10")
    for classes, said in (
        (["cat", "dog"], "2 of 2 classes by name; new: nothing"),
        (["dog", "cat"], "2 of 2 classes by name, in another order; new: nothing"),
        (["dog", "lion"], "1 of 2 classes by name; new: nothing"),
    ):
        told_so = told("w", start, ["bird", "cat", "dog"], classes, [])
        assert (
            told_so == f"started from w (6 blocks, width 128, 4 heads); its head knows {said}"
        )


@pytest.mark.parametrize(
    "given, said",
    [
        (["--set", "train.start_rate=0.3"], "start_rate=0.3 is for what comes from given weig"),
        (["--from", "digits", "--set", "model.dim=96"], "model.dim=96 would mean nothing"),
        (["--from", "digits", "--set", "model=cifar10"], "model=cifar10 would mean nothing"),
        (
            ["--from", "cifar10"],
            "patches of 4 pixels do not divide image_size=.*model.image_si",
        ),
    ],
)
def test_what_would_mean_nothing_is_refused(given, said, tmp_path):
    sizes = ["--set", "model.image_size=[10,8]"] if given[-1] == "cifar10" else []
    with pytest.raises(SystemExit, match=f"^error: .*{said}") as caught:
        main(["train", "digits", "--out", str(tmp_path / "run"), *given, *sizes])
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_dropout_and_size_may_change_beside_weights(tmp_path):
    main(["train", "digits", "--from", "digits", "--out", str(tmp_path), "--set",
          "model.drop_path=0.1", "train.epochs=1", "images=70"])  # fmt: skip
    assert "drop_path: 0.1" in (tmp_path / "config.yaml").read_text()
    assert "start: digits" in (tmp_path / "config.yaml").read_text()


def test_what_is_no_vit_is_named(tmp_path):
    for name in ("a.pt", "a.safetensors"):
        (tmp_path / name).write_bytes(b"no weights")
        with pytest.raises(ValueError, match=rf"{name.replace('.', '[.]')} is no"):
            read_start(tmp_path / name)
    with pytest.raises(ValueError, match="no weights are called 'nothing'; known: cifar10"):
        read_start("nothing")
    torch.save({"state_dict": {"conv1.weight": torch.zeros(2)}}, tmp_path / "cnn.pth")
    with pytest.raises(ValueError, match="expected the state dict of a torchvision, timm"):
        read_start(tmp_path / "cnn.pth")
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="list.pt holds a list; a state dict is wanted"):
        read_start(tmp_path / "list.pt")
    torch.save(torch.nn.Linear(2, 3), tmp_path / "pickle.pt")
    with pytest.raises(ValueError, match="is no state dict of tensors alone") as caught:
        read_start(tmp_path / "pickle.pt")
    assert "\n" not in str(caught.value)
    small = timms(embed_dim=64, num_heads=2).state_dict()
    torch.save({"model": small, "model_ema": small, "epoch": 3}, tmp_path / "both.pt")
    with pytest.raises(ValueError, match="holds 2 models, model, model_ema; write the one"):
        read_start(tmp_path / "both.pt")
    state = {
        "epoch": 3,
        "net": {
            f"module.{k}": v for k, v in timms(embed_dim=64, num_heads=2).state_dict().items()
        },
    }
    torch.save(state, tmp_path / "vit.pth")
    start, known = read_start(tmp_path / "vit.pth")
    assert start.config.dim == 64 and known is None
