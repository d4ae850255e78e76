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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("masked", [False, True])
def test_equal_to_scaled_dot_product_attention(dtype, masked):
    q, k, v = torch.randn(3, 2, 4, 9, 16, dtype=dtype)
    mask = torch.ones(9, 9, dtype=torch.bool).tril() if masked else None
    theirs = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    assert_close(attention(q, k, v, mask)[0], theirs)
    assert_close(attention(q.double(), k.double(), v.double(), mask)[0].to(dtype), theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("heads", [1, 3, 8])
def test_equal_to_multihead_attention_outputs_and_weights(dtype, heads):
    ours = MultiHeadSelfAttention(24, heads).to(dtype)
    theirs = nn.MultiheadAttention(24, heads, batch_first=True).to(dtype)
    theirs.load_state_dict({
        "in_proj_weight": ours.qkv.weight, "in_proj_bias": ours.qkv.bias,
        "out_proj.weight": ours.out.weight, "out_proj.bias": ours.out.bias,
    })  # fmt: skip
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
