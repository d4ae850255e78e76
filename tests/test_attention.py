import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from vitbook import MultiHeadSelfAttention
from vitbook.attention import attend, attention


def test_the_pencil_example():
    q = torch.tensor([[1.0, 0, 2, 1]])
    k = torch.tensor([[1.0, 0, 1, 1], [0, 1, 0, 0], [2, 1, 0, 0]])
    v = torch.tensor([[10.0, 0], [0, 10], [10, 10]])
    output, weights = attention(q, k, v)
    e = torch.tensor([2.0, 0.0, 1.0]).exp()
    assert_close(weights[0], e / e.sum())
    assert_close(output[0], torch.tensor([9.0997, 3.3476]), rtol=1e-4, atol=1e-4)


def test_the_row_looks():
    ask, offer = torch.zeros(4, 4), torch.zeros(4, 4)
    ask[1, 0], offer[3, 0] = 30.0, 1.0
    _, weights = attention(ask, offer, torch.eye(4))
    assert weights[1, 3] > 0.99
    assert_close(weights[[0, 2, 3]], torch.full((3, 4), 0.25))
    assert_close(weights.sum(dim=-1), torch.ones(4))


def some_hidden(*shape):
    """A mask with a row in which all is hidden, and one in which nothing is."""
    mask = torch.rand(*shape) < 0.6
    mask[..., 2, :], mask[..., 4, :] = False, True
    return mask


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [None, (7, 11), (3, 1, 7, 11)])
def test_equal_to_scaled_dot_product_attention_with_gradients(dtype, shape):
    torch.manual_seed(0)
    sizes = [(3, 2, 7, 13), (3, 2, 11, 13), (3, 2, 11, 5)]
    given = [torch.randn(*size, dtype=dtype) for size in sizes]
    mask, results = None if shape is None else some_hidden(*shape), []
    for function in (attention, F.scaled_dot_product_attention):
        q, k, v = (x.clone().requires_grad_() for x in given)
        output = function(q, k, v, mask)
        output = output[0] if function is attention else output
        output.square().sum().backward()
        results.append((output, q.grad, k.grad, v.grad))
    for ours, theirs in zip(*results, strict=True):
        assert_close(ours, theirs)


def test_a_row_in_which_all_is_hidden_is_zero_and_nowhere_nan():
    q, k, v = torch.randn(3, 2, 7, 5).requires_grad_()
    mask = some_hidden(7, 7)
    with torch.autograd.set_detect_anomaly(True):  # not even on the way back
        output, weights = attention(q, k, v, mask)
        output.sum().backward()
    assert not weights[:, 2].any() and not output[:, 2].any()
    assert not weights[~mask.expand(2, 7, 7)].any()
    assert_close(weights.sum(dim=-1), mask.any(dim=-1).float().expand(2, 7))


def test_multihead_attention_reads_a_mask_the_other_way_round():
    layer, x = MultiHeadSelfAttention(6, 2), torch.randn(3, 5, 6)
    theirs = nn.MultiheadAttention(6, 2, batch_first=True)
    theirs.load_state_dict(in_their_names(layer))
    earlier = torch.ones(5, 5, dtype=torch.bool).tril()
    q, k, v = layer.qkv(x).reshape(3, 5, 3, 2, 3).permute(2, 0, 3, 1, 4)
    ours = layer.out(attention(q, k, v, earlier)[0].transpose(1, 2).flatten(2))
    assert_close(ours, theirs(x, x, x, attn_mask=~earlier)[0])
    assert theirs(x, x, x, attn_mask=earlier)[0][:, -1].isnan().all()  # all is hidden


def in_their_names(layer):
    return {
        "in_proj_weight": layer.qkv.weight, "in_proj_bias": layer.qkv.bias,
        "out_proj.weight": layer.out.weight, "out_proj.bias": layer.out.bias,
    }  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("heads", [1, 3, 8])
def test_equal_to_multihead_attention_outputs_and_weights(dtype, heads):
    ours = MultiHeadSelfAttention(24, heads).to(dtype)
    theirs = nn.MultiheadAttention(24, heads, batch_first=True).to(dtype)
    theirs.load_state_dict(in_their_names(ours))
    x = torch.randn(2, 7, 24, dtype=dtype)
    output, weights = theirs(x, x, x, average_attn_weights=False)
    assert_close(ours(x), output)
    recorded = []
    ours.record = recorded.append
    assert_close(ours(x), output)
    assert_close(recorded[0], weights)


def test_recorded_weights_are_those_before_dropout():
    q, k, v = torch.randn(3, 1, 1, 20, 8)
    recorded = []
    dropped = attend(q, k, v, 0.5, recorded.append)
    assert_close(recorded[0].sum(dim=-1), torch.ones(1, 1, 20))
    assert not torch.allclose(dropped, recorded[0] @ v)


def test_dropout_only_while_training():
    layer, x = MultiHeadSelfAttention(16, 4, dropout=0.5), torch.randn(1, 9, 16)
    assert not torch.allclose(layer(x), layer(x))
    assert_close(layer.eval()(x), layer(x))


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match=r"dim=512 is not divisible by heads=12.*\[1, 2, 4, 8"):
        MultiHeadSelfAttention(512, 12)
    with pytest.raises(ValueError, match="heads=0"):
        MultiHeadSelfAttention(8, 0)
