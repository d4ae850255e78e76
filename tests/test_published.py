"""Published families: the same logits as the library's own model, or a reason by name."""

import re
from functools import partial

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from vitbook import VisionTransformer, at_size, from_published, load_published, preset
from vitbook.compat import load_torchvision

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


FAMILIES = {
    "ViT": {},
    "layer scale": {"init_values": 0.5},
    "DINO, no head": {"num_classes": 0},
    "no class token, average": {"global_pool": "avg", "class_token": False},
    "average, norm before the class token's place": {
        "global_pool": "avg",
        "class_token": False,
        "fc_norm": False,
    },
    "no position for the class token": {"no_embed_class": True},
    "no bias at q, k, v": {"qkv_bias": False},
    "one channel": {"in_chans": 1},
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("wrapper", ["", "module.", "_orig_mod.module.", "model."])
def test_timms(family, wrapper):
    theirs = timms(**FAMILIES[family])
    state = {f"{wrapper}{name}": p for name, p in theirs.state_dict().items()}
    ours = load_published(state, heads=3)
    images = torch.randn(2, ours.config.channels, 40, 40)
    with torch.no_grad():
        assert_close(ours(images), theirs(images), rtol=1e-5, atol=1e-5)


def test_torchvisions():
    tv = load_torchvision("models")
    theirs = drawn(tv.VisionTransformer(40, 8, 2, 3, 24, 44, num_classes=7))
    same(load_published(theirs.state_dict(), heads=3), theirs)


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


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"reg_tokens": 4}, "register tokens"),
        ({"pre_norm": True}, "a norm before the first block"),
        ({"qk_norm": True}, "norms on queries and keys"),
        ({"global_pool": "map"}, "pooling by attention"),
        ({"global_pool": "avg"}, "leave a class token aside"),
        ({"img_size": (40, 32)}, "20 patches, which is no grid of 4 × 4"),
    ],
)
def test_what_has_no_room_is_named(changes, reason):
    with pytest.raises(ValueError, match=reason):
        load_published(timms(**changes).state_dict(), heads=3)


def test_images_that_are_no_squares():
    """Of 5 · 3 patches: with the class token 16 rows, as many as 4 · 4 patches alone."""
    theirs = timms(img_size=(40, 24))
    ours = load_published(theirs.state_dict(), heads=3, image_size=(40, 24))
    images = torch.randn(2, 3, 40, 24)
    with torch.no_grad():
        assert_close(ours(images), theirs(images), rtol=1e-5, atol=1e-5)


def test_a_distilled_deit_is_refused():
    timms()
    from timm.models.deit import VisionTransformerDistilled

    theirs = VisionTransformerDistilled(num_classes=7, **SIZES)
    with pytest.raises(ValueError, match="a distillation token"):
        from_published(theirs.state_dict())


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
