"""Published families: the same logits as the library's own model, or a reason by name."""

import re
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from vitbook import VisionTransformer, at_size, from_published, load_published, preset
from vitbook.compat import load_torchvision
from vitbook.training import load_weights, save_weights

SIZES = {"img_size": 40, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}


def timms(**changes):
    """A small timm ViT with random numbers everywhere, norms and scales too."""
    load_torchvision()
    timm = pytest.importorskip("timm")
    settings = {"num_classes": 7, "mlp_ratio": 44 / 24} | SIZES | changes
    return drawn(timm.models.VisionTransformer(**settings))


def drawn(model):
    torch.manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(std=0.3)
    return model.eval()


def same(ours, theirs, side=40):
    images = torch.randn(2, 3, side, side)
    with torch.no_grad():
        expected = theirs(images)
        assert_close(ours(images), getattr(expected, "logits", expected), rtol=1e-5, atol=1e-5)


def library(changes):
    """A family of timm's: its state dict, and its model."""

    def made():
        theirs = timms(**changes)
        return theirs.state_dict(), theirs

    return made


def torchvisions():
    theirs = drawn(
        load_torchvision("models").VisionTransformer(40, 8, 2, 3, 24, 44, num_classes=7)
    )
    return theirs.state_dict(), theirs


def masked(changes):
    """As DINOv2's files: with a token for masked patches, which only its training reads."""
    state, theirs = library(changes)()
    return {**state, "mask_token": torch.randn(1, 24)}, theirs


def hugging(**changes):
    theirs = timms(norm_layer=partial(nn.LayerNorm, eps=1e-12), **changes)
    return hugging_face(theirs.state_dict()), theirs


def pooled():
    """ViTModel: without a head, with a pooler that nothing reads here."""
    state, theirs = hugging(num_classes=0)
    return {**state, "pooler.dense.weight": torch.randn(24, 24)}, theirs


READ = {  # the rows of the table in the book
    "torchvision": torchvisions,
    "timm's `vit_*` and `deit_*`": library({}),
    "timm's with an average and `fc_norm`, no class token": library(
        {"global_pool": "avg", "class_token": False}
    ),
    "DeiT III: layer scale, no position for the class token": library(
        {"init_values": 0.5, "no_embed_class": True}
    ),
    "DINO, without a head": library({"num_classes": 0}),
    "DINOv2, without registers": lambda: masked({"num_classes": 0, "init_values": 0.5}),
    "Hugging Face's `ViTForImageClassification`": hugging,
    "Hugging Face's `ViTModel`": pooled,
}
OTHERS = {
    "average, norm before it": {"global_pool": "avg", "class_token": False, "fc_norm": False},
    "no bias at q, k, v": {"qkv_bias": False},
    "one channel": {"in_chans": 1},
}
TOKENS = {"num_classes": 7, **SIZES}
REFUSED = {  # what a state dict holds, and a part of the answer
    "register tokens": (lambda: timms(reg_tokens=4), "reg_token, register tokens"),
    "a distillation token": (lambda: distilled(), "dist_token, a distillation token"),
    "norms on queries and keys": (lambda: timms(qk_norm=True), "norms on queries and keys"),
    "a norm before the first block": (
        lambda: timms(pre_norm=True),
        "norm_pre.weight, a norm before the first block",
    ),
    "pooling by attention": (lambda: timms(global_pool="map"), "pooling by attention"),
    "a gated MLP": (lambda: gated(), "a gated MLP"),
    "rotary or relative positions": (lambda: timms(pos_embed="none"), "no table of positions"),
    "an average beside a class token": (
        lambda: timms(global_pool="avg"),
        "leave a class token aside",
    ),
}


def distilled():
    load_torchvision()
    return pytest.importorskip("timm.models.deit").VisionTransformerDistilled(**TOKENS)


def gated():
    load_torchvision()
    layers = pytest.importorskip("timm.layers")
    return timms(mlp_layer=layers.GluMlp, act_layer=nn.SiLU)


def test_the_table_in_the_book_names_what_is_tested():
    page = (Path(__file__).parent.parent / "book/how_to_use.md").read_text("utf-8")
    table = page.partition("| family |")[2].partition("\n\n")[0].splitlines()[2:]
    rows = dict(line.strip("| ").split(" | ") for line in table)
    assert [row for row, answer in rows.items() if answer != "refused, by name"] == list(READ)
    assert [row for row, answer in rows.items() if answer == "refused, by name"] == list(
        REFUSED
    )


@pytest.mark.parametrize("family", [*READ, *OTHERS])
@pytest.mark.parametrize(
    "wrapper", ["", "module.", "_orig_mod.module.", "model.", "my_own_net."]
)
def test_a_family_gives_its_librarys_logits(family, wrapper):
    state, theirs = (READ.get(family) or library(OTHERS[family]))()
    ours = load_published({f"{wrapper}{name}": p for name, p in state.items()}, heads=3)
    images = torch.randn(2, ours.config.channels, 40, 40)
    with torch.no_grad():
        assert_close(ours(images), theirs(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("part", REFUSED)
def test_what_has_no_room_is_named(part):
    make, reason = REFUSED[part]
    with pytest.raises(ValueError, match=reason):
        load_published(make().state_dict(), heads=3)


def test_two_models_in_one_file_are_told_apart():
    state = timms().state_dict()
    both = {f"{who}.{name}": p for who in ("student", "teacher") for name, p in state.items()}
    with pytest.raises(
        ValueError, match=r"got 2 models: \['student.', 'teacher.'\]; give that of"
    ):
        from_published(both)


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda s: s.update({"head.weight": torch.zeros(7, 48)}), "the head reads 48 numbers"),
        (lambda s: s.pop("norm.weight"), "not those of a plain ViT.*norm.weight"),
        (lambda s: s.pop("blocks.0.mlp.fc2.weight"), "no block with an MLP"),
        (lambda s: s.update({"rope.freqs": torch.zeros(2)}), "rope.freqs, rotary positions"),
        (lambda s: s.update({"patch_embed.backbone.x": torch.zeros(2)}), "convolutions in"),
        (lambda s: s.update({"pos_embed": torch.zeros(1, 21, 24)}), "no grid of 4 × 4; give"),
    ],
)
def test_weights_that_do_not_fit_together(change, reason):
    state = dict(timms().state_dict())
    change(state)
    with pytest.raises(ValueError, match=reason) as caught:
        load_published(state, heads=3)
    assert "\n" not in str(caught.value)


def test_weights_without_a_head_can_be_written_and_read(tmp_path):
    ours = load_published(timms(num_classes=0).state_dict(), heads=3)
    save_weights(tmp_path / "features.safetensors", ours)
    images = torch.randn(2, 3, 40, 40)
    assert torch.equal(load_weights(tmp_path / "features.safetensors")(images), ours(images))


def test_torchvisions_say_which_pixels_they_want():
    """As its own transforms: models.ViT_B_16_Weights.DEFAULT.transforms()."""
    theirs = load_torchvision("models").ViT_B_16_Weights.IMAGENET1K_V1.transforms()
    ours = load_published(torchvisions()[0], heads=3)
    assert ours.normalisation == (theirs.mean, theirs.std)


def hugging_face(state, old=True):
    """A timm state dict under Hugging Face's names, those in published files or today's."""
    found = {}
    attention = "attention.attention" if old else "attention"
    names = ["query", "key", "value"] if old else ["q_proj", "k_proj", "v_proj"]
    for name, tensor in state.items():
        kind = name.split(".")[-1]
        block = re.sub(
            r"^blocks\.(\d+)\..*", r"vit.encoder.layer.\1" if old else r"vit.layers.\1", name
        )
        if ".attn.qkv." in name:
            for part, piece in zip(names, tensor.chunk(3), strict=True):
                found[f"{block}.{attention}.{part}.{kind}"] = piece
            continue
        name = re.sub(r"^blocks\.\d+", block, name)
        name = name.replace("norm1", "layernorm_before").replace("norm2", "layernorm_after")
        out = "attention.output.dense" if old else "attention.o_proj"
        name = name.replace("attn.proj", out)
        if old:
            name = name.replace("mlp.fc1", "intermediate.dense").replace(
                "mlp.fc2", "output.dense"
            )
        name = re.sub(r"^cls_token", "vit.embeddings.cls_token", name)
        name = re.sub(r"^pos_embed", "vit.embeddings.position_embeddings", name)
        name = name.replace("patch_embed.proj", "vit.embeddings.patch_embeddings.projection")
        name = re.sub(r"^norm\.", "vit.layernorm.", name)
        found[re.sub(r"^head\.", "classifier.", name)] = tensor
    return found


@pytest.mark.parametrize("old", [True, False])
def test_hugging_faces_names(old):
    theirs = timms(norm_layer=partial(nn.LayerNorm, eps=1e-12))
    state = hugging_face(theirs.state_dict(), old)
    same(load_published(state, heads=3), theirs)
    state["pooler.dense.weight"] = torch.randn(24, 24)  # ViTModel's, which nothing reads
    same(load_published(state, heads=3), theirs)


def test_hugging_faces_own_model():
    """Where their library is installed: it is no requirement of this book."""
    load_torchvision()
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        image_size=40, patch_size=8, hidden_size=24, num_hidden_layers=2,
        num_attention_heads=3, intermediate_size=44, num_labels=7,
    )  # fmt: skip
    theirs = drawn(transformers.ViTForImageClassification(config))
    same(load_published(theirs.state_dict(), heads=3), theirs)


def test_positions_of_no_square_ask_for_the_shape():
    with pytest.raises(ValueError, match="20 patches, which is no grid of 4 × 4"):
        load_published(timms(img_size=(40, 32)).state_dict(), heads=3)


def test_images_that_are_no_squares():
    """Of 5 · 3 patches: with the class token 16 rows, as many as 4 · 4 patches alone."""
    theirs = timms(img_size=(40, 24))
    ours = load_published(theirs.state_dict(), heads=3, image_size=(40, 24))
    images = torch.randn(2, 3, 40, 24)
    with torch.no_grad():
        assert_close(ours(images), theirs(images), rtol=1e-5, atol=1e-5)


def test_heads_are_asked_for_where_the_weights_do_not_say():
    with pytest.raises(ValueError, match="weights of width 24 do not say how many"):
        load_published(timms().state_dict())
    wide = timms(embed_dim=128, num_heads=2)
    same(load_published(wide.state_dict()), wide)


def test_half_of_query_key_value_is_no_attention():
    state = hugging_face(timms().state_dict())
    state.pop("vit.encoder.layer.1.attention.attention.key.weight")
    with pytest.raises(ValueError, match="but not the same of key and value"):
        from_published(state)


@pytest.mark.parametrize("position", ["learned", "sincos", "none"])
@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_at_another_size(position, pool):
    model = VisionTransformer(preset("digits", image_size=16, position=position, pool=pool))
    model.eval()
    wide = at_size(model, (16, 24))
    assert wide.config.grid == (8, 12) and wide(torch.randn(2, 1, 16, 24)).shape == (2, 10)
    back = at_size(model, 16)
    images = torch.randn(2, 1, 16, 16)
    assert_close(back(images), model(images))
    if position == "sincos":
        fresh = VisionTransformer(wide.config).embeddings.position
        assert torch.equal(wide.embeddings.position, fresh)
    assert model.config.image_size == 16 and model(images).shape == (2, 10)  # left as it was
    with pytest.raises(ValueError, match="does not divide"):
        at_size(model, 15)


def test_at_another_size_as_timm_does():
    theirs = timms()
    images = torch.randn(2, 3, 56, 56)
    ours = at_size(load_published(theirs.state_dict(), heads=3), 56)
    theirs.set_input_size((56, 56))
    with torch.no_grad():
        assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-4)
