import re
import warnings

import pytest
import torch
import yaml
from conftest import ROOT
from models import SMALL, compare_with_torchvision, randomised, small_config
from torch.testing import assert_close

import vitbook
from notebooks import cells
from vitbook import VisionTransformer, ViTConfig, from_published, patchify, preset, unpatchify

PRESETS = yaml.safe_load((vitbook.vit.files("vitbook") / "presets.yaml").read_text("utf-8"))


def parameters(c):
    """Chapter 4's formula; a class token and biases of q, k, v only where there are any."""
    patch, D, M = c.channels * c.patch_size**2, c.dim, c.mlp_dim
    class_token = D * (c.pool == "cls")
    block = (4 * D * D + (4 if c.attention_bias else 1) * D) + (2 * D * M + M + D) + 4 * D
    embeddings = patch * D + D + class_token + c.tokens * D
    return embeddings + c.depth * block + 2 * D + (D + 1) * c.classes


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_built_and_has_its_size(name):
    config = preset(name)
    with torch.device("meta"):
        model = VisionTransformer(config)
    counted = sum(p.numel() for p in model.parameters())
    assert counted == parameters(config)
    assert counted == PRESETS[name].get("parameters", counted)


@pytest.mark.parametrize(
    "name, paper", [("base-16", 86e6), ("large-16", 307e6), ("huge-14", 632e6)]
)
def test_sizes_agree_with_table_1_within_a_percent(name, paper):
    assert parameters(preset(f"vit-{name}")) == pytest.approx(paper, rel=0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logits_equal_torchvisions(dtype):
    compare_with_torchvision(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logits_equal_timms(dtype):
    timm = pytest.importorskip("timm")
    theirs = timm.models.VisionTransformer(
        img_size=32,
        patch_size=8,
        num_classes=5,
        embed_dim=24,
        depth=3,
        num_heads=3,
        mlp_ratio=40 / 24,
    )
    theirs = randomised(theirs).to(dtype)
    ours = VisionTransformer(small_config()).to(dtype).eval()
    ours.load_state_dict(from_published(theirs.state_dict()))
    images = torch.randn(2, 3, 32, 32, dtype=dtype)
    with torch.no_grad():
        assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-4)


# Calls that take raw pictures, of chapter 7's published model.
RAW = re.compile(r"\b(?:show_attention|predict|accuracy)\(model, [^)\n]*\)")


def test_chapter_7_feeds_the_published_model_as_it_was_trained():
    (path,) = ROOT.glob("notebooks/07_*.ipynb")
    calls = RAW.findall("\n".join(cell.source for cell in cells(path, "code")))
    assert calls and all("mean=mean, std=spread" in call for call in calls)
    assert RAW.findall("predict(ours, x)\npredict(model, x[None])") == [
        "predict(model, x[None])"
    ]


def test_unknown_weights_are_refused():
    with pytest.raises(ValueError, match="expected the state dict of a torchvision, timm"):
        from_published({"weight": torch.zeros(1)})


@pytest.mark.parametrize("kind, equal", [("none", True), ("learned", False), ("sincos", False)])
@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_shuffled_patches_are_noticed_only_with_positions(kind, equal, pool):
    config = preset("tinyvit", position=kind, pool=pool, dropout=0.0)
    model = VisionTransformer(config).double().eval()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    shuffled = unpatchify(patchify(images, 4)[:, torch.randperm(64)], 4, (8, 8))
    with torch.no_grad():
        difference = (model(images) - model(shuffled)).abs().max()
    assert (difference < 1e-12) == equal


def test_image_may_be_a_rectangle():
    config = preset("tinyvit", image_size=(16, 24))
    assert config.grid == (4, 6) and config.tokens == 25
    assert VisionTransformer(config)(torch.zeros(1, 3, 16, 24)).shape == (1, 10)


def test_wrong_images_are_refused_at_the_call():
    model = VisionTransformer(preset("tinyvit"))
    for shape in [(1, 3, 28, 28), (1, 1, 32, 32), (3, 32, 32)]:
        with pytest.raises(ValueError, match=r"\(batch, 3, 32, 32\), got \(") as error:
            model(torch.zeros(shape))
        assert str(shape) in str(error.value)


def test_impossible_configurations_are_refused():
    with pytest.raises(ValueError, match="dim=512 is not divisible by heads=12"):
        preset("replication-vit", heads=12)
    with pytest.raises(ValueError, match="patch_size=5 does not divide image_size=32"):
        preset("tinyvit", patch_size=5)
    with pytest.raises(ValueError, match="pool='max'"):
        preset("tinyvit", pool="max")
    with pytest.raises(ValueError, match="position='rotary'"):
        preset("tinyvit", position="rotary")
    with pytest.raises(ValueError, match="divisible by 4, got dim=6"):
        ViTConfig(8, 2, 1, 10, dim=6, depth=1, heads=2, mlp_dim=8, position="sincos")
    with pytest.raises(ValueError, match="no preset is called 'vit-tiny'.*mini-vit-tiny"):
        preset("vit-tiny")


def test_drop_path_rises_linearly():
    model = VisionTransformer(preset("tinyvit", drop_path=0.3))
    assert [b.drop_path.rate for b in model.blocks] == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_an_untrained_model_guesses():
    model = VisionTransformer(preset("mini-vit-tiny")).eval()
    with torch.no_grad():
        logits = model(torch.randn(64, 3, 32, 32))
    loss = torch.nn.functional.cross_entropy(logits, torch.randint(10, (64,)))
    assert abs(loss - torch.tensor(10.0).log()) < 0.3


assert SMALL["patch_size"] == small_config().patch_size


@pytest.mark.parametrize("kind", [torch.uint8, torch.int64, torch.bool])
def test_whole_numbers_are_no_images(kind):
    model = VisionTransformer(preset("digits"))
    images = torch.ones(2, 1, 8, 8).to(kind)
    with pytest.raises(ValueError, match=rf"expected floats around zero, got {kind}; bring"):
        model(images)


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_a_traced_or_exported_model_takes_any_batch(pool):
    model = VisionTransformer(preset("digits", pool=pool)).eval()
    three, five = torch.randn(3, 1, 8, 8), torch.randn(5, 1, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the checks of shapes, which are not recorded
        traced = torch.jit.trace(model, three)
    batch = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(model, (three,), dynamic_shapes=batch).module()
    for one in (traced, exported):
        assert_close(one(five), model(five))
