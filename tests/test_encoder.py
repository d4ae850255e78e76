import ast
import json

import norm_orders
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from notebooks import PATHS, ROOT, bare, definitions
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


def test_chapter_4_and_its_script_stack_the_same_layers():
    (chapter,) = (path for path in PATHS if path.stem == "04_encoder")
    taught = definitions(chapter)
    written = ast.parse((ROOT / "scripts/norm_orders.py").read_text("utf-8")).body
    written = {node.name: node for node in written if hasattr(node, "name")}
    for name in ("PreNorm", "PostNorm", "NoResidual", "stack"):
        assert bare(taught[name]) == bare(written[name]), name


def test_the_three_orders_share_their_weights_and_differ_as_they_should():
    x, stacks = torch.randn(2, 5, 8), {}
    for name, kind in norm_orders.KINDS.items():
        torch.manual_seed(3)
        stacks[name] = norm_orders.stack(kind, 1, 8)
    pre, post, none = (stacks[name] for name in ("pre-norm", "post-norm", "no residual"))
    for one, other in ((pre, post), (pre, none)):
        assert_close(one.state_dict(), other.state_dict())
    branch = pre[0].branch
    normed = F.layer_norm(x, (8,), eps=1e-6)
    assert_close(pre[0](x), x + branch(normed))
    assert_close(post[0](x), F.layer_norm(x + branch(x), (8,), eps=1e-6))
    assert_close(none[0](x), branch(normed))


def test_one_run_of_the_orders_warms_up():
    def learn(warmup=0):
        return norm_orders.learn("pre-norm", 1e-3, seed=7, warmup=warmup, steps=10, depth=1)

    cold, warm = learn(), learn(warmup=10)
    assert cold == learn() and len(cold) == 10
    assert cold[0] == warm[0] and sum(cold) < sum(warm)  # the same start, smaller steps


def test_the_record_of_orders_says_what_chapter_4_says():
    rows = json.loads(norm_orders.RECORD.read_text("utf-8"))["rows"]
    last = {(r["kind"], r["rate"], r["seed"], r["warmup"]): r["loss"][-1] for r in rows}
    assert list(last) == list(norm_orders.runs()) and len(last) == len(rows)
    helped = 0
    for seed in range(5):
        pre, post, none = (
            [last[kind, rate, seed, 0] for rate in norm_orders.RATES]
            for kind in norm_orders.KINDS
        )
        assert abs(pre[0] - post[0]) < 0.05 and pre[1] < post[1] < 2.25
        assert pre[3] < 1.9 and post[3] > 2.29 and min(none) > 2.2
        helped += last["post-norm", 3e-4, seed, 30] < post[2]
    assert helped == 3
