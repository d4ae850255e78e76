"""Wrong programs for chapter 4."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from vitbook import MultiHeadSelfAttention
from vitbook.encoder import MLP, DropPath, EncoderBlock
from wrong_programs import wrong

# 4.5 Layer norm


@wrong("4.5", "the variance is divided by n − 1")
def _(x, scale, shift, eps):
    return (x - x.mean(-1, True)) / torch.sqrt(x.var(-1, keepdim=True) + eps) * scale + shift


@wrong("4.5", "eps stands outside the root")
def _(x, scale, shift, eps):
    std = x.std(-1, keepdim=True, correction=0)
    return (x - x.mean(-1, True)) / (std + eps) * scale + shift


@wrong("4.5", "divided by the variance instead of its root")
def _(x, scale, shift, eps):
    var = x.var(-1, keepdim=True, correction=0)
    return (x - x.mean(-1, True)) / (var + eps) * scale + shift


@wrong("4.5", "eps is not used")
def _(x, scale, shift, eps):
    return (x - x.mean(-1, True)) / x.std(-1, keepdim=True, correction=0) * scale + shift


def standardize(x, axes, eps):
    var, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    return (x - mean) * torch.rsqrt(var + eps)


@wrong("4.5", "the mean is taken over the tokens")
def _(x, scale, shift, eps):
    return standardize(x, x.ndim - 2, eps) * scale + shift


@wrong("4.5", "all tokens are normed together")
def _(x, scale, shift, eps):
    return standardize(x, (x.ndim - 2, x.ndim - 1), eps) * scale + shift


@wrong("4.5", "the mean is not subtracted.")
def _(x, scale, shift, eps):
    return x * torch.rsqrt(x.var(-1, keepdim=True, correction=0) + eps) * scale + shift


@wrong("4.5", "that is RMS norm")
def _(x, scale, shift, eps):
    return x * torch.rsqrt(x.square().mean(-1, True) + eps) * scale + shift


@wrong("4.5", "the factor is missing")
def _(x, scale, shift, eps):
    return standardize(x, -1, eps) + shift


@wrong("4.5", "the shift is missing")
def _(x, scale, shift, eps):
    return standardize(x, -1, eps) * scale


@wrong("4.5", "first the factor, then the shift")
def _(x, scale, shift, eps):
    return (standardize(x, -1, eps) + shift) * scale


@wrong("4.5", "it calls layer_norm, which is what you are to write")
def _(x, scale, shift, eps):
    return F.layer_norm(x, x.shape[-1:], scale, shift, eps)


@wrong("4.5", "it changes its argument number 1 in place")
def _(x, scale, shift, eps):
    x -= x.mean(-1, True)
    return x / torch.sqrt(x.square().mean(-1, True) + eps) * scale + shift


# 4.6 The MLP


class Wide(nn.Module):
    """A learner's MLP; each wrong one overrides a step."""

    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def bend(self, x):
        return x * torch.distributions.Normal(0, 1).cdf(x)

    def forward(self, x):
        return self.fc2(self.bend(self.fc1(x)))


@wrong("4.6", "there is no bend")
class _(Wide):
    def bend(self, x):
        return x


@wrong("4.6", "the bend is ReLU")
class _(Wide):
    def bend(self, x):
        return F.relu(x)


@wrong("4.6", "that is the formula with tanh")
class _(Wide):
    def bend(self, x):
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * x * (1 + 0.044715 * x * x)))


@wrong("4.6", "is another bend, SiLU")
class _(Wide):
    def bend(self, x):
        return F.silu(x)


@wrong("4.6", "that is Φ(x); GELU is x · Φ(x)")
class _(Wide):
    def bend(self, x):
        return torch.special.ndtr(x)


@wrong("4.6", "erf is taken of x")
class _(Wide):
    def bend(self, x):
        return 0.5 * x * (1 + x.erf())


@wrong("4.6", "the half is missing")
class _(Wide):
    def bend(self, x):
        return x * (1 + torch.erf(x / math.sqrt(2)))


@wrong("4.6", "the one is missing")
class _(Wide):
    def bend(self, x):
        return 0.5 * x * torch.erf(x / math.sqrt(2))


@wrong("4.6", "the bend comes after the second layer")
class _(Wide):
    def forward(self, x):
        return self.bend(self.fc2(self.fc1(x)))


@wrong("4.6", "there is a second bend")
class _(Wide):
    def forward(self, x):
        return self.bend(super().forward(x))


@wrong("4.6", "x is added; that is the block's work")
class _(Wide):
    def forward(self, x):
        return super().forward(x) + x


@wrong("4.6", "it calls gelu, which is what you are to write")
class _(Wide):
    def bend(self, x):
        return F.gelu(x)


# 4.7 Drop-path


def factors(branch, kept):
    return kept.to(branch).reshape(len(branch), *[1] * (branch.dim() - 1))


@wrong("4.7", "those that stay are not made larger")
def _(branch, rate, drawn):
    return branch * factors(branch, drawn >= rate)


@wrong("4.7", "divided by the rate")
def _(branch, rate, drawn):
    return branch * factors(branch, drawn >= rate) / (rate if rate else 1)


@wrong("4.7", "multiplied by 1 − rate instead of divided")
def _(branch, rate, drawn):
    return branch * factors(branch, drawn >= rate) * (1 - rate)


@wrong("4.7", "those that should stay are dropped")
def _(branch, rate, drawn):
    return branch * factors(branch, drawn < rate) / (1 - rate)


@wrong("4.7", "a number right at the rate is not below it")
def _(branch, rate, drawn):
    return branch * factors(branch, ~(drawn <= rate)) / (1 - rate)


@wrong("4.7", "dropped below 1 − rate")
def _(branch, rate, drawn):
    keep = 1 - rate
    return branch * factors(branch, drawn >= keep) / keep


@wrong("4.7", "the first number decides for the whole batch")
def _(branch, rate, drawn):
    return torch.zeros_like(branch) if drawn[0] < rate else branch / (1 - rate)


@wrong("4.7", "the numbers are laid along the tokens")
def _(branch, rate, drawn):
    return branch * (drawn >= rate).to(branch)[:, None] / (1 - rate)


@wrong("4.7", "those dropped are missing from the batch")
def _(branch, rate, drawn):
    kept = [image for image, number in zip(branch, drawn, strict=True) if number >= rate]
    return torch.stack(kept) / (1 - rate)


@wrong("4.7", "it changes the state of chance")
def _(branch, rate, drawn):
    return branch * factors(branch, torch.rand(len(branch)) >= rate) / (1 - rate)


# 4.8 The block


class Steps(nn.Module):
    """A learner's block: two branches by name, and the sums."""

    def __init__(self, dim, heads, mlp_dim, drop_path=0.0):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim, eps=1e-6), MultiHeadSelfAttention(dim, heads)
        self.norm2, self.mlp = nn.LayerNorm(dim, eps=1e-6), MLP(dim, mlp_dim)
        self.drop_path = DropPath(drop_path)

    def look(self, z):
        return self.drop_path(self.attn(self.norm1(z)))

    def think(self, z):
        return self.drop_path(self.mlp(self.norm2(z)))

    def forward(self, x):
        x = x + self.look(x)
        x = x + self.think(x)
        return x


@wrong("4.8", "that is post-norm")
class _(Steps):
    def forward(self, x):
        for norm, layer in ((self.norm1, self.attn), (self.norm2, self.mlp)):
            x = norm(x + self.drop_path(layer(x)))
        return x


@wrong("4.8", "the branches replace the stream")
class _(Steps):
    def forward(self, x):
        return self.think(self.look(x))


@wrong("4.8", "both branches read the same stream")
class _(Steps):
    def forward(self, x):
        return sum([x, self.look(x), self.think(x)])


@wrong("4.8", "what attention added is lost")
class _(Steps):
    def forward(self, x):
        return x + self.think(x + self.look(x))


@wrong("4.8", "norm1 is used twice")
class _(Steps):
    def think(self, z):
        return self.drop_path(self.mlp(self.norm1(z)))


@wrong("4.8", "the second branch has no norm")
class _(Steps):
    def think(self, z):
        return self.drop_path(self.mlp(z))


@wrong("4.8", "the MLP comes first")
class _(Steps):
    def forward(self, x):
        x = x + self.think(x)
        return x + self.look(x)


@wrong("4.8", "the norm stays on the stream")
class _(Steps):
    def forward(self, x):
        for norm, layer in ((self.norm1, self.attn), (self.norm2, self.mlp)):
            x = norm(x)
            x = x + self.drop_path(layer(x))
        return x


@wrong("4.8", "drop_path is not used")
class _(Steps):
    def forward(self, x):
        z = self.attn(self.norm1(x)) + x
        return self.mlp(self.norm2(z)) + z


@wrong("4.8", "it may silence a branch, never the stream")
class _(Steps):
    def forward(self, x):
        z = self.drop_path(self.attn(self.norm1(x)) + x)
        return self.drop_path(self.mlp(self.norm2(z)) + z)


@wrong("4.8", "drop_path is missing on the first branch")
class _(Steps):
    def look(self, z):
        return self.attn(self.norm1(z))


# 4.9 The model


class Whole(nn.Module):
    """A learner's model; each wrong one overrides a step."""

    def __init__(self, patches, width, dim, depth, classes, pool):
        super().__init__()
        self.pool = pool
        self.projection = nn.Linear(width, dim)
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.position = nn.Parameter(torch.zeros(1, patches + 1, dim))
        self.blocks = nn.Sequential(*(EncoderBlock(dim, 1, 2 * dim) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(dim, eps=1e-6), nn.Linear(dim, classes)

    def start(self, z):
        return F.pad(z, (0, 0, 1, 0)) + F.pad(self.class_token, (0, 0, 0, z.size(1)))

    def encode(self, patches):
        z = self.start(self.projection(patches)) + self.position
        for block in self.blocks:
            z = block(z)
        return self.norm(z)

    def cls(self, z):
        return z.select(1, 0)

    def mean(self, z):
        return z[:, 1:].sum(1) / (z.size(1) - 1)

    def forward(self, patches):
        return self.head(getattr(self, self.pool)(self.encode(patches)))


@wrong("4.9", "the last norm is missing")
class _(Whole):
    def encode(self, patches):
        return self.blocks(self.start(self.projection(patches)) + self.position)


@wrong("4.9", "the class token stands at the end")
class _(Whole):
    def start(self, z):
        return super().start(z).roll(-1, dims=1)


@wrong("4.9", "there are no positions")
class _(Whole):
    def encode(self, patches):
        return self.norm(self.blocks(self.start(self.projection(patches))))


@wrong("4.9", "the class token has no position")
class _(Whole):
    def encode(self, patches):
        z = self.start(self.projection(patches) + self.position[:, 1:])
        return self.norm(self.blocks(z))


@wrong("4.9", "the class token is all zeros")
class _(Whole):
    def start(self, z):
        return F.pad(z, (0, 0, 1, 0))


@wrong("4.9", "the class token is averaged, too")
class _(Whole):
    def mean(self, z):
        return z.mean(1)


@wrong("4.9", "it is always the class token")
class _(Whole):
    def mean(self, z):
        return self.cls(z)


@wrong("4.9", "it is always the mean")
class _(Whole):
    def cls(self, z):
        return self.mean(z)


@wrong("4.9", "the first patch is read")
class _(Whole):
    def cls(self, z):
        return z[:, 1]


@wrong("4.9", "the last token is read")
class _(Whole):
    def cls(self, z):
        return z[:, z.size(1) - 1]


@wrong("4.9", "the patches are added")
class _(Whole):
    def mean(self, z):
        return z.sum(1) - z[:, 0]


@wrong("4.9", "the norm is used twice")
class _(Whole):
    def forward(self, patches):
        return self.head(self.norm(getattr(self, self.pool)(self.encode(patches))))


@wrong("4.9", "these are probabilities")
class _(Whole):
    def forward(self, patches):
        return F.softmax(super().forward(patches), dim=1)


@wrong("4.9", "`z = torch.cat([self.class_token, z], dim=1)` raises RuntimeError")
class _(Whole):
    def start(self, z):
        z = torch.cat([self.class_token, z], dim=1)
        return z


# 4.10 Parameters of a block


wrong("4.10", "110 are missing")(4 * 100 + 2 * 200)
wrong("4.10", "4D is missing")(4 * 100 + 40 + 2 * 200 + 30)
wrong("4.10", "The biases of the MLP are missing")(4 * 100 + 40 + 2 * 200 + 40)
wrong("4.10", "The MLP has two matrices; one is missing")(910 - 200)
wrong("4.10", "Both norms have a factor and a shift")(910 - 20)
wrong("4.10", "Heads share the width")(910 + 440)


# 4.11 A planted bug


def piled(depth, rate, make):
    """Blocks by a list, with rates by a rule on the place."""
    blocks = [make() for _ in range(depth)]
    for i, one in enumerate(blocks):
        one.rate = rate(i)
    return blocks


@wrong("4.11", "nothing has changed")
def _(depth, highest, block):
    blocks = [block()] * depth
    for i, one in enumerate(blocks):
        one.rate = highest * i / depth
    return blocks


@wrong("4.11", "there is still one block, many times over")
def _(depth, highest, block):
    blocks = [block()] * depth
    for one, rate in zip(blocks, torch.linspace(0, highest, depth).tolist(), strict=True):
        one.rate = rate
    return blocks


@wrong("4.11", "the last rate does not reach the highest")
def _(depth, highest, block):
    return piled(depth, lambda i: i * (highest / depth), block)


@wrong("4.11", "the count starts too high")
def _(depth, highest, block):
    return piled(depth, lambda i: (i + 1) * (highest / depth), block)


@wrong("4.11", "the rates fall")
def _(depth, highest, block):
    return piled(depth, lambda i: highest * i / max(depth - 1, 1), block)[::-1]


@wrong("4.11", "all rates are the same")
def _(depth, highest, block):
    return piled(depth, lambda i: highest, block)


@wrong("4.11", "a single block should have a rate of 0")
def _(depth, highest, block):
    return piled(depth, lambda i: highest - highest * (depth - 1 - i) / (depth - 1 or 1), block)


@wrong("4.11", "raises ZeroDivisionError")
def _(depth, highest, block):
    return piled(depth, lambda i: highest * i / (depth - 1), block)


# 4.12 The slope of GELU


NORMAL = torch.distributions.Normal(torch.zeros(()).double(), 1)


def bell(x):
    return NORMAL.log_prob(x).exp()


@wrong("4.12", "the second term of the product rule is missing")
def _(x):
    return NORMAL.cdf(x)


@wrong("4.12", "the first term, Φ(x), is missing")
def _(x):
    return bell(x) * x


@wrong("4.12", "the density has no factor x")
def _(x):
    return bell(x) + NORMAL.cdf(x)


@wrong("4.12", "the second term is subtracted")
def _(x):
    return NORMAL.cdf(x) - bell(x) * x


@wrong("4.12", "the density is not divided by √(2π)")
def _(x):
    return NORMAL.cdf(x) + bell(x) * math.sqrt(2 * math.pi) * x


@wrong("4.12", "the exponent is −x² / 2; the half is missing")
def _(x):
    return NORMAL.cdf(x) + torch.exp(-x * x) * x / math.sqrt(2 * math.pi)


@wrong("4.12", "that is GELU itself")
def _(x):
    return F.gelu(x)


@wrong("4.12", "a step")
def _(x):
    return torch.heaviside(x, torch.zeros_like(x))


@wrong("4.12", "it calls grad, which is what you are to write")
def _(x):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(F.gelu(x).sum(), x)[0]


# 4.13 Published names


PUBLISHED = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.output.dense": "attn.out",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}


def gathered(state, start, names=PUBLISHED, qkv=("query", "key", "value"), cat=torch.cat):
    """A translation by a walk over the names."""
    ours = {}
    for name, weight in state.items():
        if name.startswith(start):
            middle, kind = name.split(".", 3)[-1].rsplit(".", 1)
            if middle in names:
                ours[f"{names[middle]}.{kind}"] = weight
    for kind in ("weight", "bias"):
        parts = [state[f"{start}attention.attention.{part}.{kind}"] for part in qkv]
        ours[f"attn.qkv.{kind}"] = cat(parts)
    return ours


def renamed(**swap):
    return {theirs: swap.get(ours.split(".")[-1], ours) for theirs, ours in PUBLISHED.items()}


@wrong("4.13", "queries and keys have changed places")
def _(state, i):
    return gathered(state, f"encoder.layer.{i}.", qkv=("key", "query", "value"))


@wrong("4.13", "keys and values have changed places")
def _(state, i):
    return gathered(state, f"encoder.layer.{i}.", qkv=("query", "value", "key"))


@wrong("4.13", "woven row by row")
def _(state, i):
    def woven(parts):
        return torch.stack(parts, dim=1).flatten(0, 1)

    return gathered(state, f"encoder.layer.{i}.", cat=woven)


@wrong("4.13", "norm1 and norm2 have changed places")
def _(state, i):
    return gathered(state, f"encoder.layer.{i}.", renamed(norm1="norm2", norm2="norm1"))


@wrong("4.13", "mlp.fc1 and mlp.fc2 have changed places")
def _(state, i):
    return gathered(state, f"encoder.layer.{i}.", renamed(fc1="mlp.fc2", fc2="mlp.fc1"))


@wrong("4.13", "attn.out and mlp.fc2 have changed places, or one has the other's weights")
def _(state, i):
    start, ours = f"encoder.layer.{i}.", gathered(state, f"encoder.layer.{i}.")
    for kind in ("weight", "bias"):
        found = [n for n in state if n.startswith(start) and n.endswith(f"output.dense.{kind}")]
        ours[f"mlp.fc2.{kind}"] = state[found[0]]
    return ours


@wrong("4.13", "the matrices are turned")
def _(state, i):
    return {
        k: w.T if w.dim() > 1 else w for k, w in gathered(state, f"encoder.layer.{i}.").items()
    }


@wrong("4.13", "does `layer.1` also find `layer.11`?")
def _(state, i):
    found = [name for name in state if name.startswith(f"encoder.layer.{i}")]
    number = found[-1].split(".")[2]  # the later ones have written over the earlier ones
    return gathered(state, f"encoder.layer.{number}.")


@wrong("4.13", "a dictionary of attn.qkv.weight")
def _(state, i):
    return {k: w for k, w in gathered(state, f"encoder.layer.{i}.").items() if "norm" not in k}


# 4.14 and 4.15 Numbers


wrong("4.14", "The table of positions shrinks as well")((1024 - 256) * 3 * 768)
wrong("4.14", "which of the two is missing?")((1024 - 256) * 768 - 147 * 768)
wrong("4.14", "The table of positions shrinks; it doesn't grow")(768 * (3 * 768 + 147))
wrong("4.14", "that is only what the positions lose")(-112_896)
wrong("4.14", "Some depend on the patch")(0)

wrong("4.15", "not halved")(25**0.5)
wrong("4.15", "Deviations do not add up")(1 + 24 / 2)
wrong("4.15", "A half in deviation is a quarter in variance")((1 + 24 / 2) ** 0.5)
wrong("4.15", "nothing brings the stream back to 1")(1.0)
wrong("4.15", "That is the variance")(1 + 24 / 4)
