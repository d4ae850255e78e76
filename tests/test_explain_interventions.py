"""Interventions: what can be computed on paper, what stays as it was, nothing left behind."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from vitbook import (
    MultiHeadSelfAttention,
    VisionTransformer,
    ViTConfig,
    explain,
    record_attention,
)

# Every axis its own prime: 5 images, 2 layers, 3 heads of width 7, 11 tokens, 13 classes.
CONFIG = ViTConfig(
    image_size=(4, 10),
    patch_size=2,
    channels=1,
    classes=13,
    dim=21,
    depth=2,
    heads=3,
    mlp_dim=17,
)


@pytest.fixture
def model():
    torch.manual_seed(0)
    found = VisionTransformer(CONFIG).double().eval()
    for weight in found.parameters():
        nn.init.normal_(weight, std=0.3)
    return found


@pytest.fixture
def images():
    return torch.randn(5, 1, 4, 10, generator=torch.Generator().manual_seed(1)).double()


def on_paper(heads=1):
    """One attention on two channels: looks everywhere alike, values as they are."""
    attn = MultiHeadSelfAttention(2, heads)
    with torch.no_grad():
        attn.qkv.weight.zero_()
        attn.qkv.weight[4:] = torch.eye(2)
        attn.qkv.bias.zero_()
        attn.out.weight.copy_(torch.eye(2))
        attn.out.bias.zero_()
    block = nn.Module()
    block.attn = attn
    model = nn.Module()
    model.blocks = nn.ModuleList([block])
    return model, attn


def test_cut_looks_on_paper():
    model, attn = on_paper()
    tokens = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [5.0, 2.0]]])
    cut = torch.tensor([[False, True, True], [False, False, False], [True, False, False]])
    with explain.cut_looks(model, 0, cut):
        found = attn(tokens)
    # Token 0 sees itself alone, token 1 everyone, token 2 the last two.
    assert_close(found, torch.tensor([[[1.0, 0.0], [2.0, 1.0], [2.5, 1.5]]]))


def test_a_silenced_head_on_paper():
    model, attn = on_paper(heads=2)
    with torch.no_grad():
        attn.out.weight.copy_(torch.tensor([[1.0, 10.0], [2.0, 3.0]]))
        attn.out.bias.copy_(torch.tensor([5.0, 7.0]))
    tokens = torch.tensor([[[1.0, 6.0], [3.0, 0.0]]])  # their mean is (2, 3)
    for head, expected in ((None, (37.0, 20.0)), (0, (35.0, 16.0)), (1, (7.0, 11.0))):
        if head is None:
            found = attn(tokens)
        else:
            with explain.silence_head(model, 0, head):
                found = attn(tokens)
        assert_close(found, torch.tensor(expected).expand(1, 2, 2))


def test_logit_lens_on_paper():
    """Two channels, and blocks that add a constant: the norm leaves the sign alone."""
    config = ViTConfig(
        image_size=2, patch_size=1, channels=1, classes=2, dim=2, depth=2, heads=1, mlp_dim=3
    )
    model = VisionTransformer(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
        model.norm.weight.fill_(1.0)
        model.embeddings.class_token.copy_(torch.tensor([3.0, 1.0]))
        model.blocks[0].attn.out.bias.copy_(torch.tensor([0.0, 4.0]))  # (3, 5)
        model.blocks[1].mlp.fc2.bias.copy_(torch.tensor([6.0, 0.0]))  # (9, 5)
        model.head.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 5.0]]))
        model.head.bias.copy_(torch.tensor([1.0, 0.0]))
    found = explain.logit_lens(model, torch.rand(3, 1, 2, 2))
    expected = torch.tensor([[3.0, -5.0], [-1.0, 5.0], [3.0, -5.0]])
    assert_close(found, expected[:, None].expand(3, 3, 2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_a_stage_of_the_lens_is_the_model_cut_short_there(pool, images):
    torch.manual_seed(0)
    config = ViTConfig(**{**vars(CONFIG), "pool": pool})
    model = VisionTransformer(config).double().eval()
    found = explain.logit_lens(model, images)
    assert found.shape == (3, 5, 13) and not found.requires_grad
    for stage in range(3):
        short = copy.deepcopy(model)
        short.blocks = short.blocks[:stage]
        assert_close(found[stage], short(images).detach())


def test_streams_are_what_the_blocks_hand_on(model, images):
    found = explain.streams(model, images)
    assert found.shape == (3, 5, 11, 21)
    assert_close(found[1:].norm(dim=-1), explain.token_norms(model, images))
    assert_close(found[0], model.embeddings(images).detach())
    with pytest.raises(ValueError, match="expected images of shape"):
        explain.streams(model, images[:, :, :2])


@pytest.mark.parametrize("layer", [0, 1])
def test_cut_looks_share_out_what_was_cut(layer, model, images):
    cut = torch.rand(5, 3, 11, 11, generator=torch.Generator().manual_seed(2)) < 0.4
    cut &= ~torch.eye(11, dtype=torch.bool)
    attn, tokens = model.blocks[layer].attn, torch.randn(5, 11, 21).double()
    with record_attention(attn) as maps:
        plain = attn(tokens)
    kept = maps.weights[0].masked_fill(cut, 0)
    values = attn.qkv(tokens)[..., 42:].reshape(5, 11, 3, 7)
    mixed = torch.einsum("bhqk,bkhd->bqhd", kept / kept.sum(-1, keepdim=True), values)
    with explain.cut_looks(model, layer, cut):
        assert_close(attn(tokens), attn.out(mixed.reshape(5, 11, 21)))
    with explain.cut_looks(model, layer, torch.zeros(1, dtype=torch.bool)):
        assert_close(attn(tokens), plain)


@pytest.mark.parametrize("layer, head", [(0, 0), (1, 2)])
def test_a_silenced_head_is_one_without_output_weights(layer, head, model, images):
    other = copy.deepcopy(model)
    other.blocks[layer].attn.out.weight.data[:, 7 * head : 7 * head + 7] = 0
    with explain.silence_head(model, layer, head):
        found = model(images)
    assert_close(found, other(images))
    assert not torch.allclose(found, model(images))


def test_swapped_tokens(model, images):
    others = images.flip(0)
    own, donors = model(images), model(others)
    stages = explain.streams(model, others)
    everyone, cls = torch.ones(11, dtype=torch.bool), torch.arange(11) == 0
    for layer in (0, 1):
        with explain.swap_tokens(model, layer, stages[layer + 1], everyone):
            assert_close(model(images), donors)
        with explain.swap_tokens(model, layer, stages[layer + 1], ~everyone):
            assert_close(model(images), own)
        some = torch.arange(5)[:, None] < 2  # whole images: the first two
        with explain.swap_tokens(model, layer, stages[layer + 1], some):
            assert_close(model(images), torch.cat([donors[:2], own[2:]]))
    # After the last block the answer is read from the class token alone.
    with explain.swap_tokens(model, 1, stages[2], cls):
        assert_close(model(images), donors)
    with explain.swap_tokens(model, 1, stages[2], ~cls):
        assert_close(model(images), own)
    # After the first, both sides count.
    for which in (cls, ~cls):
        with explain.swap_tokens(model, 0, stages[1], which):
            mixed = model(images)
        assert not torch.allclose(mixed, own) and not torch.allclose(mixed, donors)


def changes(model, images):
    donor = explain.streams(model, images.flip(0))[1]
    some = torch.arange(11) < 4
    return {
        "cut": lambda: explain.cut_looks(model, 1, (some & (torch.arange(11) > 0))[None]),
        "silence": lambda: explain.silence_head(model, 1, 2),
        "swap": lambda: explain.swap_tokens(model, 0, donor, some),
    }


@pytest.mark.parametrize("name", ["cut", "silence", "swap"])
def test_nothing_stays_attached(name, model, images):
    change, plain = changes(model, images)[name], model(images)
    with change():
        assert not torch.allclose(model(images), plain)
    assert torch.equal(model(images), plain)
    with pytest.raises(KeyError), change():
        raise KeyError
    assert torch.equal(model(images), plain)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_changes_inside_one_another_come_off_in_turn(model, images):
    plain = model(images)
    with explain.silence_head(model, 0, 1):
        one = model(images)
        with explain.silence_head(model, 0, 2):
            two = model(images)
        assert_close(model(images), one)
    other = copy.deepcopy(model)
    other.blocks[0].attn.out.weight.data[:, 7:] = 0
    assert_close(two, other(images))
    assert_close(model(images), plain)


def test_what_cannot_be_is_refused(model, images):
    everything = torch.ones(11, 11, dtype=torch.bool)
    with pytest.raises(ValueError, match="leaves a token no look at all"):
        explain.cut_looks(model, 0, everything)
    for layer in (-1, 2):
        with pytest.raises(ValueError, match=f"layer must be from 0 to 1, got {layer}"):
            explain.cut_looks(model, layer, ~everything)
        with pytest.raises(ValueError, match="layer must be from 0 to 1"):
            explain.silence_head(model, layer, 0)
        with pytest.raises(ValueError, match="layer must be from 0 to 1"):
            explain.swap_tokens(model, layer, images, everything[0])
    for head in (-1, 3):
        with pytest.raises(ValueError, match=f"head must be from 0 to 2, got {head}"):
            explain.silence_head(model, 0, head)
    donor = explain.streams(model, images[:3])[1]
    shapes = r"donor has shape \(3, 11, 21\), the tokens \(5, 11, 21\)"
    refused = pytest.raises(ValueError, match=shapes)
    with explain.swap_tokens(model, 0, donor, everything[0]), refused:
        model(images)
    assert not any(m._forward_hooks for m in model.modules())
