import pytest
import torch
from torch.testing import assert_close

from vitbook import VisionTransformer, explain, preset, record_attention


@pytest.fixture
def model():
    return VisionTransformer(preset("tinyvit", depth=3)).eval()


def random_weights(layers=3, batch=2, heads=2, tokens=5):
    return torch.randn(layers, batch, heads, tokens, tokens).softmax(dim=-1)


def test_recording_leaves_outputs_alone_and_nothing_behind(model):
    images = torch.randn(2, 3, 32, 32)
    expected = model(images)
    with record_attention(model) as maps:
        assert_close(model(images), expected)
    assert maps.weights.shape == (3, 2, 4, 65, 65)
    assert_close(maps.weights.sum(dim=-1), torch.ones(3, 2, 4, 65))
    assert not maps.weights.requires_grad
    assert all(block.attn.record is None for block in model.blocks)
    kept = maps.weights.clone()
    model(torch.randn(2, 3, 32, 32))
    assert torch.equal(maps.weights, kept)


def test_nothing_stays_hooked_after_an_error(model):
    with pytest.raises(ValueError, match="expected images"), record_attention(model):
        model(torch.zeros(1, 3, 8, 8))
    assert all(block.attn.record is None for block in model.blocks)


def test_the_last_pass_counts(model):
    first, second = torch.randn(2, 1, 3, 32, 32)
    with record_attention(model) as maps:
        model(first)
        model(second)
    with record_attention(model) as alone:
        model(second)
    assert torch.equal(maps.weights, alone.weights)


def test_gradients_belong_to_their_layers(model):
    images = torch.randn(1, 3, 32, 32)
    with record_attention(model, gradients=True) as maps:
        logit = model(images)[0, 3]
    with pytest.raises(RuntimeError, match="call backward"):
        _ = maps.weight_gradients
    logit.backward()
    gradients = maps.weight_gradients
    assert gradients.shape == maps.weights.shape
    # In the last layer only the class token's row can matter to the logit.
    assert (gradients[-1, :, :, 1:] == 0).all() and gradients[-1, :, :, 0].abs().max() > 0
    assert gradients[0, :, :, 1:].abs().max() > 0


def test_recording_refuses_what_it_cannot_do(model):
    with pytest.raises(ValueError, match="found no MultiHeadSelfAttention in Linear"):
        record_attention(torch.nn.Linear(1, 1)).__enter__()
    with record_attention(model) as maps, pytest.raises(RuntimeError, match="recorded 0 of 3"):
        _ = maps.weights


def test_class_token_map_by_hand():
    weights = torch.zeros(1, 1, 1, 3, 3)
    weights[0, 0, 0, 0] = torch.tensor([0.5, 0.1, 0.4])
    looks = explain.class_token_map(weights, grid=(1, 2))
    assert_close(looks[0, 0], torch.tensor([0.2, 0.8]))


@pytest.mark.parametrize(
    "patches, grid", [(16, None), (64, None), (15, None), (15, (3, 5)), (6, (3, 2))]
)
def test_class_token_map_wants_a_class_token(patches, grid):
    """Else patch 0 would be taken for it, and one patch be left out."""
    without = torch.rand(2, 3, 5, patches, patches)
    with pytest.raises(
        ValueError, match=f"{patches} tokens are not a class token and .*mean_q"
    ):
        explain.class_token_map(without, grid=grid)
    if grid:
        assert explain.class_token_map(random_weights(tokens=patches + 1), grid=grid).any()


def test_mean_query_map_sums_to_one():
    weights = random_weights()
    looks = explain.mean_query_map(weights)
    assert looks.shape == (2, 2, 5)
    assert_close(looks.sum(dim=-1), torch.ones(2, 2))
    assert_close(looks[1, 0, 2], weights[-1, 1, 0, :, 2].mean())


def test_rollout_by_hand():
    first = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    second = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    weights = torch.stack([first, second])[:, None, None]
    expected = torch.tensor([[0.5, 0.5], [0.25, 0.75]])
    assert_close(explain.rollout(weights)[0], expected)
    assert_close(explain.rollout(weights, residual=False)[0], second @ first)


def test_rollout_invariants():
    identity = torch.eye(4).expand(3, 2, 2, 4, 4)
    assert_close(explain.rollout(identity), torch.eye(4).expand(2, 4, 4))
    weights = random_weights()
    flow = explain.rollout(weights)
    assert_close(flow.sum(dim=-1), torch.ones(2, 5))
    assert_close(explain.rollout(weights[:, 1:2])[0], flow[1])
    stream = start = torch.randn(5, 7)
    for layer in weights.mean(dim=2)[:, 0]:
        stream = stream + layer @ stream
    assert_close(stream, 2**3 * flow[0] @ start)


def test_distance_by_hand():
    """Two patches, 4 pixels apart; the class token takes 80% of one row."""
    weights = torch.zeros(1, 1, 1, 3, 3)
    weights[0, 0, 0] = torch.tensor([[1.0, 0, 0], [0.8, 0.1, 0.1], [0.0, 0.25, 0.75]])
    distance = explain.mean_attention_distance(weights, (1, 2), 4)
    assert_close(distance, torch.tensor([[(4 * 0.5 + 4 * 0.25) / 2]]))
    without_class_token = explain.mean_attention_distance(weights[..., 1:, 1:], (1, 2), 4)
    assert_close(without_class_token, distance)


def test_distance_of_looking_at_oneself_is_zero():
    weights = torch.eye(17).expand(2, 1, 3, 17, 17)
    assert (explain.mean_attention_distance(weights, (4, 4), 8) == 0).all()
    assert explain.patch_distances((8, 8), 4)[0, 8 * 3 + 4] == 20


def test_position_similarity_is_a_cosine():
    table = torch.randn(6, 4)
    similar = explain.position_similarity(3 * table, (2, 3))
    assert similar.shape == (2, 3, 2, 3)
    assert_close(similar[1, 2, 0, 1], torch.cosine_similarity(table[5], table[1], dim=0))


def test_patch_filters_find_the_planted_pattern():
    pattern = torch.randn(12)
    projection = torch.randn(50, 1) * pattern + 0.01 * torch.randn(50, 12)
    components, held = explain.patch_filters(projection, 3, 2, 4)
    assert components.shape == (4, 3, 2, 2)
    assert torch.cosine_similarity(components[0].flatten(), pattern, dim=0).abs() > 0.99
    assert held[0] > 0.95


def test_maps_follow_permuted_patches_without_positions():
    from vitbook import patchify, unpatchify

    model = VisionTransformer(preset("tinyvit", position="none")).double().eval()
    images, order = torch.randn(1, 3, 32, 32, dtype=torch.float64), torch.randperm(64)
    shuffled = unpatchify(patchify(images, 4)[:, order], 4, (8, 8))
    found = []
    for picture in (images, shuffled):
        with record_attention(model) as maps:
            model(picture)
        found.append(explain.rollout(maps.weights)[:, 0, 1:])
    assert_close(found[0][:, order], found[1])
