"""Right programs for chapter 3."""

import torch
import torch.nn.functional as F
from torch import nn

from right_programs import right


@right("3.6")
def _(scores, mask):
    powers = torch.exp(scores - scores.max(dim=-1, keepdim=True).values) * mask
    return powers / powers.sum(dim=-1, keepdim=True).clamp(min=1e-30)


@right("3.7")
def _(x, heads):
    return torch.stack(x.chunk(heads, dim=-1), dim=1)


@right("3.8")
def _(x):
    return x.transpose(1, 2).flatten(2)


@right("3.10")
class _(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads, self.record = heads, None
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x):
        found, d = [], x.size(-1) // self.heads
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        for h in range(self.heads):
            at = slice(h * d, (h + 1) * d)
            scores = torch.einsum("bid,bjd->bij", q[..., at], k[..., at]) / d**0.5
            found.append(F.softmax(scores, dim=-1))
        if self.record:
            self.record(torch.stack(found, dim=1))
        own = [a @ v[..., h * d : (h + 1) * d] for h, a in enumerate(found)]
        return self.out(torch.cat(own, dim=-1))


@right("3.11")
def _(x, context, W_q, W_k, W_v):
    return F.scaled_dot_product_attention(x @ W_q, context @ W_k, context @ W_v)


@right("3.11")
def _(x, context, W_q, W_k, W_v):
    scores = torch.einsum("...id,dw,ew,...je->...ij", x, W_q, W_k, context)
    return (scores * W_q.size(1) ** -0.5).softmax(-1) @ context @ W_v


@right("3.12")
def _(rows, columns, reach):
    mask = torch.zeros(rows, columns, rows, columns, dtype=torch.bool)
    for r in range(rows):
        for c in range(columns):
            top, left = max(0, r - reach), max(0, c - reach)
            mask[r, c, top : r + reach + 1, left : c + reach + 1] = True
    return mask.view(rows * columns, -1)


@right("3.12")
def _(rows, columns, reach):
    i = torch.arange(rows * columns)
    r, c = i.div(columns, rounding_mode="floor").double(), (i % columns).double()
    places = torch.stack([r, c], dim=1)
    return (torch.cdist(places, places, p=torch.inf) < reach + 0.5).float()


@right("3.13")
def _(z, W, heads):
    width = z.size(-1)
    d = width // heads
    qkv, outputs = z @ W, []
    for h in range(heads):
        q, k, v = (qkv[..., t * width + h * d :][..., :d] for t in range(3))
        outputs.append(F.scaled_dot_product_attention(q, k, v))
    return torch.cat(outputs, dim=-1)


@right("3.14")
def _(weights, grad):
    table = torch.diag_embed(weights) - weights[..., None] * weights[..., None, :]
    return (table @ grad[..., None])[..., 0]
