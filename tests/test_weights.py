"""Files of weights: the plain names, and how a model wants its pixels."""

import json
from dataclasses import asdict

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from vitbook import VisionTransformer, load_pretrained, preset
from vitbook.__main__ import main
from vitbook.data import normalize
from vitbook.training import load_weights, predict, read_recipe, save_weights
from vitbook.training.weights import for_predict, normalisation, pretrained_path, read_header
from vitbook.viewer import show_attention


def wrapped(model, how):
    if how == "average":
        return torch.optim.swa_utils.AveragedModel(model)
    if how == "one block":
        model.blocks[1] = torch.compile(model.blocks[1])
        return model
    return {"compiled": torch.compile, "parallel": torch.nn.DataParallel}.get(how)(model)


@pytest.mark.parametrize("how", ["compiled", "parallel", "average", "one block"])
def test_weights_of_a_wrapped_model_have_the_plain_names(how, tmp_path):
    model = VisionTransformer(preset("digits", depth=2))
    names, before = list(model.state_dict()), model.state_dict()
    save_weights(tmp_path / "w.safetensors", wrapped(model, how))
    found = load_weights(tmp_path / "w.safetensors").state_dict()
    assert list(found) == names
    assert all(torch.equal(found[k], v) for k, v in zip(names, before.values(), strict=True))


def test_weights_written_with_a_wrappers_names_are_read(tmp_path):
    model = VisionTransformer(preset("digits", depth=2))
    tensors = {f"module._orig_mod.{key}": value for key, value in model.state_dict().items()}
    header = {"config": json.dumps(asdict(model.config))}
    save_file(tensors, tmp_path / "w.safetensors", header)
    read = load_weights(tmp_path / "w.safetensors")
    assert torch.equal(read.head.weight, model.head.weight)


def test_a_file_says_how_its_model_wants_pixels(tmp_path, capsys):
    images = torch.randint(256, (5, 3, 8, 8), dtype=torch.uint8)
    model = VisionTransformer(preset("digits", channels=3)).eval()
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    path = tmp_path / "w.safetensors"
    save_weights(path, model, mean, std, classes=[*"abcdefghij"])
    assert (read_header(path)["mean"], read_header(path)["std"]) == (mean, std)
    read = load_weights(path)
    assert normalisation(read) == [mean, std]
    shape = [torch.tensor(values).view(3, 1, 1) for values in (mean, std)]
    with torch.no_grad():
        right, wrong = (model(normalize(images, *how)) for how in (shape, ()))
    assert (right - wrong).abs().max() > 0.1  # else the test would say nothing
    assert_close(predict(for_predict(read), images), right)
    drawn = show_attention(read, images[0])._repr_html_()
    assert drawn == show_attention(model, images[0], None, None, *shape)._repr_html_()
    assert drawn != show_attention(model, images[0])._repr_html_()
    save_weights(tmp_path / "again.safetensors", read)  # it goes on with the model
    assert normalisation(load_weights(tmp_path / "again.safetensors")) == [mean, std]
    Image.fromarray(images[0].permute(1, 2, 0).numpy()).save(tmp_path / "a.png")
    main(["predict", str(tmp_path / "a.png"), "--weights", str(path)])
    top = right[0].softmax(dim=0).max().item()
    assert f"{'abcdefghij'[right[0].argmax()]} {top:.0%}" in capsys.readouterr().out


def test_what_says_nothing_is_fed_from_minus_one_to_one():
    model = load_pretrained("digits")  # written before files said it
    assert normalisation(model) == [[0.5], [0.5]] and for_predict(model) is model


@pytest.mark.parametrize(
    "mean, std, message",
    [
        ([0.5, 0.5], 0.5, r"one for each of 3 channels; got \[2\]"),
        (0.5, [1.0] * 5, r"one for each of 3 channels; got \[5\]"),
        (0.5, 0.0, r"std above 0; got mean=\[0.5\], std=\[0.0\]"),
        (0.5, [0.2, -0.2, 0.2], "std above 0"),
        (float("nan"), 0.5, "must be finite numbers"),
        (0.5, float("inf"), "must be finite numbers"),
    ],
)
def test_a_normalisation_that_cannot_be_is_refused(mean, std, message, tmp_path):
    model = VisionTransformer(preset("digits", channels=3))
    with pytest.raises(ValueError, match=message):
        save_weights(tmp_path / "w.safetensors", model, mean, std)
    assert not (tmp_path / "w.safetensors").exists()


def test_the_model_of_the_hour_is_its_recipes_kept_in_half_the_bytes():
    model = load_pretrained("cifar10-hour-amx")
    assert asdict(model.config) == asdict(read_recipe("cifar10-hour-amx").model)
    (size,) = {p.dtype for p in load_file(pretrained_path("cifar10-hour-amx")).values()}
    assert size == torch.float16 and next(model.parameters()).dtype == torch.float32
