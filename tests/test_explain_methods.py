"""The attention-map methods: hand-computed cases, invariants, and the known faults."""

import math

import pytest
import torch
from torch.testing import assert_close

from vitbook import VisionTransformer, explain, patchify, preset, record_attention, unpatchify


def random_weights(layers=3, batch=2, heads=2, tokens=5):
    return torch.randn(layers, batch, heads, tokens, tokens).softmax(dim=-1)


def tiny(pool="cls", **changes):
    torch.manual_seed(0)
    config = preset("tinyvit", depth=3, pool=pool, dropout=0.0, **changes)
    model = VisionTransformer(config).double().eval()
    torch.nn.init.normal_(model.head.weight)  # logits that differ
    return model


POOLS = pytest.mark.parametrize("pool", ["cls", "mean"])
METHODS = pytest.mark.parametrize(
    "method", [explain.gradient_attention, explain.relevance, explain.input_gradient]
)


def test_mass_threshold_by_hand():
    looks = torch.tensor([[0.1, 0.4, 0.3, 0.2], [0.25, 0.25, 0.25, 0.25]])
    assert explain.mass_threshold(looks, 0.5).tolist() == [
        [False, True, True, False], [True, True, False, False],
    ]  # fmt: skip
    assert explain.mass_threshold(looks, 0.4)[0].tolist() == [False, True, False, False]
    assert explain.mass_threshold(10 * looks, 1.0).all()
    assert not explain.mass_threshold(looks, 0.0).any()
    many = torch.rand(7, 3, 64)
    kept = explain.mass_threshold(many, 0.6)
    held = (many * kept).sum(-1) / many.sum(-1)
    without_weakest = held - many.masked_fill(~kept, 9).amin(-1) / many.sum(-1)
    assert (held >= 0.6 - 1e-5).all() and (without_weakest < 0.6).all()


def test_entropy_by_hand():
    weights = torch.tensor([[1.0, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0], [0, 0, 0, 1.0]])
    found = explain.normalised_entropy(weights[None, None, None])
    assert_close(found[0, 0, 0], torch.tensor([0.0, 1.0, 0.5, 0.0]))


def test_discard_is_per_image_and_spares_the_class_token():
    first = torch.tensor([[0.05, 0.65, 0.30], [0.02, 0.58, 0.40], [0.01, 0.09, 0.90]])
    second = first[:, [0, 2, 1]]
    weights = torch.stack([first, second])[None, :, None]  # one layer, two images, one head
    kept = explain.discard_weakest(weights, 1 / 3)[0, :, 0]
    # Image 1's three weakest looks at patches: .09, .30, .40; image 2's lie elsewhere.
    assert (kept[0] == 0).nonzero().tolist() == [[0, 2], [1, 2], [2, 1]]
    assert (kept[1] == 0).nonzero().tolist() == [[0, 1], [1, 1], [2, 2]]
    assert (kept[:, :, 0] > 0).all()
    assert_close(kept[0, 0], torch.tensor([0.05, 0.65, 0.0]) / 0.70)
    alone = explain.discard_weakest(weights[:, 1:], 1 / 3)
    assert torch.equal(alone[0, 0, 0], kept[1])
    layers = torch.cat([weights, weights.flip(1)])  # each layer has its own weakest looks
    each = torch.cat([explain.discard_weakest(layer[None], 1 / 3) for layer in layers])
    assert torch.equal(explain.discard_weakest(layers, 1 / 3), each)
    everything = explain.discard_weakest(weights, 1.0)[0, :, 0]
    assert_close(everything.sum(-1), torch.ones(2, 3))
    assert ((everything > 0).sum(-1) <= 2).all()
    assert_close(explain.discard_weakest(weights, 0.0)[0, :, 0], weights[0, :, 0])


def test_flow_by_hand():
    """Two tokens, two layers: token 0 at the top, every pipe written out."""
    first = torch.tensor([[0.5, 0.5], [0.2, 0.8]])
    second = torch.tensor([[0.3, 0.7], [0.6, 0.4]])
    weights = torch.stack([first, second])[:, None, None]
    found = explain.attention_flow(weights, residual=False)
    # To input 0: min(.3, .5) + min(.7, .2); to input 1: min(.3, .5) + min(.7, .8).
    assert_close(found, torch.tensor([[0.5, 1.0]]), atol=1e-5, rtol=0)
    halves = torch.eye(2).expand(2, 1, 1, 2, 2)
    assert_close(explain.attention_flow(halves), torch.tensor([[1.0, 0.0]]))
    many = random_weights(tokens=4)
    flow = explain.attention_flow(many, query=2)
    assert_close(explain.attention_flow(many[:, 1:], query=2)[0], flow[1])
    assert (flow <= 1 + 1e-5).all() and (flow > 0).all()


def test_relevance_by_hand():
    """Two layers, two heads, two tokens; negative products do not count."""
    weights = torch.tensor(
        [[[[0.5, 0.5], [0.2, 0.8]], [[0.1, 0.9], [0.6, 0.4]]],
         [[[0.3, 0.7], [0.9, 0.1]], [[0.5, 0.5], [0.5, 0.5]]]]
    )[:, None]  # fmt: skip
    gradients = torch.tensor(
        [[[[1.0, -1.0], [0.0, 2.0]], [[2.0, 1.0], [-3.0, 0.0]]],
         [[[1.0, 1.0], [0.0, 0.0]], [[-1.0, 2.0], [0.0, 0.0]]]]
    )[:, None]  # fmt: skip
    first = torch.tensor([[(0.5 + 0.2) / 2, (0.0 + 0.9) / 2], [0.0, (1.6 + 0.0) / 2]])
    second = torch.tensor([[(0.3 + 0.0) / 2, (0.7 + 1.0) / 2], [0.0, 0.0]])
    identity = torch.eye(2)
    expected = (identity + second) @ (identity + first)
    assert_close(explain.relevance_of(weights, gradients)[0], expected)
    other_way = (identity + first) @ (identity + second)
    assert not torch.allclose(expected, other_way), "layers in reverse would be noticed"


def test_relevance_vanishes_when_gradients_do():
    weights = random_weights()
    found = explain.relevance_of(weights, torch.zeros_like(weights))
    assert_close(found, torch.eye(5).expand(2, 5, 5))
    model = tiny()
    torch.nn.init.zeros_(model.head.weight)
    images = torch.randn(2, 3, 32, 32).double()
    for method in (explain.relevance, explain.gradient_attention, explain.input_gradient):
        assert (method(model, images) == 0).all()


@POOLS
@METHODS
def test_an_image_of_a_batch_is_as_it_is_alone(method, pool):
    model, images = tiny(pool), torch.randn(3, 3, 32, 32).double()
    together = method(model, images, torch.tensor([1, 2, 3]))
    assert together.shape == (3, 64) and (together >= 0).all() and together.max() > 0
    for k in range(3):
        assert_close(method(model, images[k : k + 1], torch.tensor([k + 1]))[0], together[k])
    other = method(model, images, torch.tensor([4, 5, 6]))
    assert not torch.allclose(together, other), "the target matters"
    guess = model(images).argmax(dim=1)
    assert_close(method(model, images), method(model, images, guess))
    assert_close(method(model, images, 4)[1], method(model, images, torch.tensor([4] * 3))[1])


@POOLS
@METHODS
def test_maps_follow_permuted_patches_without_positions(method, pool):
    model, images = tiny(pool, position="none"), torch.randn(1, 3, 32, 32).double()
    order = torch.randperm(64)
    shuffled = unpatchify(patchify(images, 4)[:, order], 4, (8, 8))
    assert_close(method(model, images, 3)[:, order], method(model, shuffled, 3))


@METHODS
def test_methods_leave_no_trace(method):
    model, images = tiny(), torch.randn(2, 3, 32, 32).double()
    method(model, images)
    assert all(p.grad is None for p in model.parameters())
    assert all(block.attn.record is None for block in model.blocks)
    assert not images.requires_grad and images.grad is None
    for p in model.parameters():
        p.requires_grad_(False)
    with torch.no_grad():
        assert method(model, images).max() > 0


def test_gradients_belong_to_their_layers_by_differences():
    """Nudge one look of one layer, and see the logit move as its gradient says."""
    model, images = tiny(), torch.randn(1, 3, 32, 32).double()
    weights, gradients = explain.gradients.recorded_with_gradients(model, images, 3)
    for layer in range(3):
        attn, nudge = model.blocks[layer].attn, 1e-6
        place = gradients[layer, 0, 1, 0].abs().argmax().item()

        def forward(x, attn=attn, place=place, nudge=nudge):
            from einops import rearrange

            from vitbook.attention import attention

            split = "b n (three heads d) -> three b heads n d"
            q, k, v = rearrange(attn.qkv(x), split, three=3, heads=attn.heads)
            _, looks = attention(q, k, v)
            looks[0, 1, 0, place] += nudge
            return attn.out(rearrange(looks @ v, "b heads n d -> b n (heads d)"))

        with torch.no_grad():
            before = model(images)[0, 3]
            attn.forward = forward
            after = model(images)[0, 3]
            del attn.forward
        moved = (after - before) / nudge
        assert_close(moved, gradients[layer, 0, 1, 0, place], rtol=1e-3, atol=1e-7)


def test_token_norms_of_a_model():
    model, images = tiny(), torch.randn(2, 3, 32, 32).double()
    norms = explain.token_norms(model, images)
    assert norms.shape == (3, 2, 65)
    assert_close(norms[-1], model.blocks(model.embeddings(images)).norm(dim=-1))
    assert not any(block._forward_hooks for block in model.blocks)


def test_published_faults_are_absent():
    """Rows stay shares; images do not mix; nothing is empty on the fused path."""
    weights = random_weights(tokens=65)
    rolled = explain.rollout(explain.discard_weakest(weights, 0.9))
    assert_close(rolled.sum(-1), torch.ones(2, 65))
    model, images = tiny(), torch.randn(2, 3, 32, 32).double()
    with record_attention(model) as maps:
        model(images)
    assert maps.weights.shape[0] == 3 and math.isclose(maps.weights[0, 0, 0, 0].sum().item(), 1)


@POOLS
def test_every_map_is_what_each_method_says(pool):
    model, images = tiny(pool), torch.randn(5, 3, 32, 32).double()
    targets = torch.tensor([0, 1, 2, 3, 4])
    maps = explain.every_map(model, images, targets, batch_size=2)
    assert all(m.shape == (5, 64) and (m >= 0).all() for m in maps.values())
    assert_close(maps["relevance"], explain.relevance(model, images, targets))
    assert_close(maps["gradient attention"], explain.gradient_attention(model, images, targets))
    assert_close(maps["input gradient"], explain.input_gradient(model, images, targets))
    with record_attention(model) as recorded, torch.no_grad():
        model(images)
    table = explain.rollout(recorded.weights)
    expected = table[:, 0, 1:] if pool == "cls" else table.mean(dim=1)
    assert_close(maps["rollout"], expected)
    last = explain.class_token_map if pool == "cls" else explain.mean_query_map
    looks = last(recorded.weights).mean(dim=1)
    assert_close(maps["layer 3"].argmax(1), looks.argmax(1))


def test_mean_query_map_by_hand():
    weights = torch.tensor([[0.2, 0.8], [0.6, 0.4]])[None, None, None]
    assert_close(explain.mean_query_map(weights)[0, 0], torch.tensor([0.4, 0.6]))


def test_gradient_attention_on_three_tokens_by_hand():
    """Two heads; the gradient at the class token's own column must not weigh a head."""
    head = torch.tensor([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8], [0.4, 0.4, 0.2]])
    weights = torch.stack([head, head.flip(-1)])[None, None]
    gradients = torch.zeros(1, 1, 2, 3, 3)
    gradients[0, 0, 0, 0] = torch.tensor([99.0, 1.0, 3.0])  # its mean at patches is 2
    gradients[0, 0, 1, 0] = torch.tensor([-9.0, -1.0, 0.0])  # and here −½
    gradients[0, 0, :, 1:] = 7.0
    found = explain.gradients.gradient_attention_of(weights, gradients, class_token=True)
    expected = (2 * torch.tensor([0.2, 0.5, 0.3]) - 0.5 * torch.tensor([0.3, 0.5, 0.2])) / 2
    assert_close(found[0, 0], expected)
    every = explain.gradients.gradient_attention_of(weights, gradients, class_token=False)
    shares = gradients.mean(dim=(-2, -1))[0, 0]  # (99 + 1 + 3 + 6 · 7) / 9, (−10 + 42) / 9
    assert_close(shares, torch.tensor([145 / 9, 32 / 9]))
    assert_close(every[0, 1, 2], (145 / 9 * head[1, 2] + 32 / 9 * head[1, 0]) / 2)


def test_token_norms_by_hand():
    model = torch.nn.Module()
    model.blocks = torch.nn.Sequential(torch.nn.Identity(), torch.nn.ReLU())
    model.forward = model.blocks.forward
    found = explain.token_norms(model, torch.tensor([[[3.0, 4.0], [-5.0, 12.0]]]))
    assert_close(found, torch.tensor([[[5.0, 13.0]], [[5.0, 12.0]]]))


def test_position_similarity_by_hand():
    similar = explain.position_similarity(torch.tensor([[1.0, 0], [0, 2], [1, 1]]), (1, 3))
    half = 2**-0.5
    expected = torch.tensor([[1, 0, half], [0, 1, half], [half, half, 1]])
    assert_close(similar[0, :, 0], expected)


def test_patch_filters_by_hand():
    projection = torch.tensor([[2.0, 0], [-2, 0], [0, 1], [0, -1]])
    components, held = explain.patch_filters(projection, 2, 1, 2)
    assert_close(components.flatten(1), torch.eye(2))  # of unit length, the sign chosen
    assert_close(held, torch.tensor([0.8, 0.2]))


def test_attention_flow_with_the_residual_by_hand():
    layer = torch.tensor([[0.0, 1.0], [0.5, 0.5]])[None, None, None]
    # Half itself, half the identity: token 0 has pipes of ½ and ½.
    assert_close(explain.attention_flow(layer), torch.tensor([[0.5, 0.5]]))
    assert_close(explain.attention_flow(layer, query=1), torch.tensor([[0.25, 0.75]]))


def test_discard_without_a_class_token_spares_no_column():
    weights = torch.tensor([[0.1, 0.9], [0.4, 0.6]])[None, None, None]
    kept = explain.discard_weakest(weights, 0.5, class_token=False)[0, 0, 0]
    assert_close(kept, torch.tensor([[0.0, 1.0], [0.0, 1.0]]))


@POOLS
def test_the_plain_maps_of_every_map(pool):
    model, images = tiny(pool), torch.randn(2, 3, 32, 32).double()
    maps = explain.every_map(model, images, torch.tensor([0, 1]))
    with record_attention(model) as recorded, torch.no_grad():
        model(images)
    heads = recorded.weights.mean(dim=2)
    first, cls = heads.shape[-1] - 64, pool == "cls"

    def read(table):
        return table[:, 0, first:] if cls else table.mean(dim=1)

    assert_close(maps["layer 1"], read(heads[0]))
    assert_close(maps["layer 2"], read(heads[1]))
    assert_close(maps["layer 3"], read(heads[-1]))
    assert_close(maps["mean of layers"], read(heads.sum(0) / 3))
    bare = explain.rollout(recorded.weights, residual=False)
    assert_close(maps["rollout, no residual"], read(bare))
    kept = explain.discard_weakest(recorded.weights, 0.9, cls)
    assert_close(maps["rollout, 90% dropped"], read(explain.rollout(kept)))
