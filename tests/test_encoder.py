import torch
import torch.nn.functional as F
from torch.testing import assert_close

from vitbook import MLP, DropPath, EncoderBlock
from vitbook.compat import load_torchvision


def test_mlp_works_on_every_token_alone():
    mlp, x = MLP(6, 24), torch.randn(2, 5, 6)
    by_hand = F.linear(
        F.gelu(F.linear(x, mlp.fc1.weight, mlp.fc1.bias)), mlp.fc2.weight, mlp.fc2.bias
    )
    assert_close(mlp(x), by_hand)
    assert_close(mlp(x)[1, 3], mlp(x[1, 3]))


def test_drop_path_equals_stochastic_depth():
    ops, x = load_torchvision("ops"), torch.randn(64, 5, 3)
    for rate in (0.1, 0.5, 0.9):
        torch.manual_seed(1)
        ours = DropPath(rate)(x)
        torch.manual_seed(1)
        assert_close(ours, ops.StochasticDepth(rate, mode="row").train()(x))


def test_drop_path_drops_whole_images_and_keeps_the_mean():
    out = DropPath(0.25)(torch.ones(8000, 2, 2))
    assert_close(out, out[:, :1, :1].expand_as(out))
    assert sorted(out.unique().tolist()) == [0.0, torch.tensor(1 / 0.75).item()]
    assert abs(out.mean() - 1) < 0.03
    x = torch.randn(3, 2)
    assert DropPath(0.5).eval()(x) is x


def test_block_is_equations_2_and_3():
    block, z = EncoderBlock(12, heads=3, mlp_dim=24), torch.randn(2, 7, 12)
    middle = z + block.attn(F.layer_norm(z, (12,), eps=1e-6))
    assert_close(block(z), middle + block.mlp(F.layer_norm(middle, (12,), eps=1e-6)))


def test_rates_reach_their_layers():
    block = EncoderBlock(
        8, 2, 16, dropout=0.1, attention_dropout=0.2, drop_path=0.3, bias=False
    )
    assert block.mlp.dropout.p == 0.1
    assert block.attn.dropout == 0.2
    assert block.drop_path.rate == 0.3
    assert block.attn.qkv.bias is None
