"""What every map owes: images do not mix, and nothing depends on where a patch stands."""

import pytest
import torch
from torch.testing import assert_close

from vitbook import VisionTransformer, explain, patchify, preset, record_attention, unpatchify
from vitbook.explain.gradients import readout


def small(pool, position):
    """A model of 4 × 4 patches, in double precision."""
    torch.manual_seed(0)
    config = preset(
        "tinyvit", image_size=16, depth=2, pool=pool, position=position, dropout=0.0
    )
    model = VisionTransformer(config).double().eval()
    torch.nn.init.normal_(model.head.weight)
    return model


def recorded(model, images):
    with record_attention(model) as maps, torch.no_grad():
        model(images)
    return maps.weights


def looks(model, images):
    method = explain.class_token_map if model.config.pool == "cls" else explain.mean_query_map
    return method(recorded(model, images)).mean(dim=1)


def dropped(model, images):
    weights = recorded(model, images)
    kept = explain.discard_weakest(weights, 0.6, model.config.pool == "cls")
    return readout(explain.rollout(kept), model)


def flow(model, images):
    found = explain.attention_flow(recorded(model, images), precision=100_000)
    return found[:, -16:].double()


MAPS = {
    "looks": looks,
    "mass threshold": lambda m, x: explain.mass_threshold(looks(m, x), 0.6).double(),
    "rollout": lambda m, x: readout(explain.rollout(recorded(m, x)), m),
    "rollout, weakest dropped": dropped,
    "attention flow": flow,
    "entropy": lambda m, x: explain.normalised_entropy(recorded(m, x))[-1].mean(1)[:, -16:],
    "token norms": lambda m, x: explain.token_norms(m, x)[-1][:, -16:],
    "gradient attention": lambda m, x: explain.gradient_attention(m, x, 3),
    "relevance": lambda m, x: explain.relevance(m, x, 3),
    "input gradient": lambda m, x: explain.input_gradient(m, x, 3),
}
EVERY = pytest.mark.parametrize("name", MAPS)
POOLS = pytest.mark.parametrize("pool", ["cls", "mean"])


@EVERY
@POOLS
def test_an_image_alone_has_the_map_it_has_in_a_batch(name, pool):
    model, images = small(pool, "learned"), torch.randn(3, 3, 16, 16).double()
    together, alone = MAPS[name](model, images), MAPS[name](model, images[1:2])
    assert together.shape == (3, 16)
    assert_close(together[1:2], alone)
    if name != "mass threshold":
        assert not torch.allclose(together[0], together[1])


# The flow to one token at the top is no map of all patches: without a class token it moves.
MOVED = [(n, p) for n in MAPS for p in ("cls", "mean") if (n, p) != ("attention flow", "mean")]


@pytest.mark.parametrize("name, pool", MOVED)
def test_maps_follow_the_patches_where_there_are_no_positions(name, pool):
    model, images = small(pool, "none"), torch.randn(2, 3, 16, 16).double()
    order = torch.randperm(16)
    moved = unpatchify(patchify(images, 4)[:, order], 4, (4, 4))
    assert_close(MAPS[name](model, moved), MAPS[name](model, images)[:, order])


@POOLS
def test_looks_are_shares(pool):
    found = looks(small(pool, "learned"), torch.randn(3, 3, 16, 16).double())
    assert_close(found.sum(dim=-1), torch.ones(3).double())


@POOLS
def test_recording_changes_neither_answer_nor_gradient(pool):
    model, images = small(pool, "learned"), torch.randn(2, 3, 16, 16).double()
    plain, gradient = model(images), explain.input_gradient(model, images, 1)
    with record_attention(model, gradients=True):
        assert_close(model(images), plain)
    with record_attention(model):
        assert_close(explain.input_gradient(model, images, 1), gradient)


def test_a_recording_inside_another_leaves_it_alone():
    model, images = small("cls", "learned"), torch.randn(1, 3, 16, 16).double()
    with record_attention(model) as outer:
        explain.relevance(model, images)
        model(images)
    assert outer.weights.shape == (2, 1, 4, 17, 17)
    assert all(block.attn.record is None for block in model.blocks)


def test_gradients_that_cannot_come_are_announced():
    model, images = small("cls", "learned"), torch.randn(1, 3, 16, 16).double()
    model.requires_grad_(False)
    refused = pytest.raises(RuntimeError, match=r"images\.requires_grad_\(\) first")
    with refused, record_attention(model, gradients=True):
        model(images)
    with pytest.raises(ValueError, match=r"targets must be classes, 0…9; got \[10\]"):
        explain.relevance(model, images, torch.tensor([10]))
