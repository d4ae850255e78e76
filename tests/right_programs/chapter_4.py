"""Right programs for chapter 4."""

import copy
import math
import re

import torch
import torch.nn.functional as F
from torch import nn

from right_programs import right
from vitbook import MultiHeadSelfAttention
from vitbook.encoder import MLP, DropPath, EncoderBlock


@right("4.5")
def _(x, scale, shift, eps):
    variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
    return torch.addcmul(shift, scale, (x - mean) * torch.rsqrt(variance + eps))


@right("4.5")
def _(x, scale, shift, eps):
    rows = []
    for token in x.reshape(-1, x.shape[-1]):
        mean = sum(token) / len(token)
        variance = sum((number - mean) ** 2 for number in token) / len(token)
        rows.append((token - mean) / torch.sqrt(variance + eps) * scale + shift)
    return torch.stack(rows).view(x.shape)


@right("4.6")
class _(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x):
        h = torch.einsum("...i,ji->...j", x, self.fc1.weight) + self.fc1.bias
        return F.linear(h * torch.special.ndtr(h), self.fc2.weight, self.fc2.bias)


@right("4.6")
class _(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x):
        h = self.fc1(x)
        return self.fc2(0.5 * h * torch.erfc(-h / math.sqrt(2)))


@right("4.7")
def _(branch, rate, drawn):
    stays = torch.where(drawn < rate, 0.0, 1 / (1 - rate)).to(branch)
    return torch.einsum("b,b...->b...", stays, branch)


@right("4.7")
def _(branch, rate, drawn):
    rows = zip(branch, drawn, strict=True)
    return torch.stack([0 * b if number < rate else b / (1 - rate) for b, number in rows])


@right("4.8")
class _(nn.Module):
    def __init__(self, dim, heads, mlp_dim, drop_path=0.0):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = MultiHeadSelfAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLP(dim, mlp_dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x):
        for norm, layer in ((self.norm1, self.attn), (self.norm2, self.mlp)):
            x = self.drop_path(layer(norm(x))) + x
        return x


@right("4.9")
class _(nn.Module):
    def __init__(self, patches, width, dim, depth, classes, pool):
        super().__init__()
        self.pool = pool
        self.projection = nn.Linear(width, dim)
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.position = nn.Parameter(torch.zeros(1, patches + 1, dim))
        self.blocks = nn.Sequential(*[EncoderBlock(dim, 1, 2 * dim) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, classes)

    def encode(self, patches):
        z = self.projection(patches) + self.position[:, 1:]
        first = (self.class_token + self.position[:, :1]).repeat(len(z), 1, 1)
        z = torch.hstack([first, z])
        for block in self.blocks:
            z = block(z)
        return self.norm(z)

    def forward(self, patches):
        logits = self.head(self.encode(patches))  # a mean of logits is the logit of a mean
        return logits[:, 0] if self.pool == "cls" else logits[:, 1:].mean(1)


@right("4.11")
def _(depth, highest, block):
    blocks = [block() for _ in range(depth)]
    for one, rate in zip(blocks, torch.linspace(0, highest, depth), strict=True):
        one.rate = rate
    return tuple(blocks)


@right("4.11")
def _(depth, highest, block):
    first = block()
    blocks = [copy.deepcopy(first) for _ in range(depth)]
    for i in range(1, depth):
        blocks[i].rate = blocks[i - 1].rate + highest / (depth - 1)
    return blocks


@right("4.12")
def _(x):
    normal = torch.distributions.Normal(0.0, 1.0)
    return normal.cdf(x) + x * normal.log_prob(x).exp()


@right("4.13")
def _(state, i):
    rules = [
        ("layernorm_before", "norm1"),
        ("layernorm_after", "norm2"),
        (r"attention\.output\.dense", "attn.out"),
        (r"intermediate\.dense", "mlp.fc1"),
        (r"^output\.dense", "mlp.fc2"),
    ]
    ours = {}
    for name in sorted(state):
        if name.startswith(f"encoder.layer.{i}."):
            rest = name.removeprefix(f"encoder.layer.{i}.")
            for theirs, mine in rules:
                rest = re.sub(theirs, mine, rest)
            ours[rest] = state[name]
    for kind in ("bias", "weight"):
        q, k, v = (
            ours.pop(f"attention.attention.{part}.{kind}") for part in ("query", "key", "value")
        )
        ours[f"attn.qkv.{kind}"] = (
            torch.vstack([q, k, v]) if q.ndim > 1 else torch.hstack([q, k, v])
        )
    return ours
