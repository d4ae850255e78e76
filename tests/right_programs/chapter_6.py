"""Right programs for chapter 6."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from einops import einsum, repeat

from right_programs import right


@right("6.7")
def _(weights, layer=-1, registers=0):
    b, h, n = weights.shape[1:4]
    found = torch.zeros(b, h, n - 1 - registers)
    for i in range(b):
        for j in range(h):
            row = weights[layer][i][j][0][1 + registers :]
            found[i, j] = row / sum(row)
    return found


@right("6.7")
def _(weights, layer=-1, registers=0):
    return F.normalize(weights[layer].select(2, 0)[..., registers + 1 :], p=1, dim=-1)


@right("6.8")
def _(weights, residual=0.5):
    eye = np.eye(weights.shape[-1])
    total = eye
    for layer in weights.numpy().mean(axis=2):
        total = ((1 - residual) * layer + residual * eye) @ total
    return torch.from_numpy(total)


@right("6.8")
def _(weights, residual=0.5):
    total = torch.eye(weights.shape[-1], dtype=weights.dtype).expand(weights[0, :, 0].shape)
    for layer in weights:
        looked = einsum(layer, total, "b h q k, b k i -> b h q i").mean(1)
        total = residual * total + (1 - residual) * looked
    return total


@right("6.9")
def _(weights, gradients, class_token):
    found = torch.zeros_like(weights[0, :, 0])
    for a, g in zip(weights, gradients, strict=True):
        bar = F.relu(a * g).sum(1) / a.shape[1]
        found = found + bar + bar @ found
    return found[:, 0, 1:] if class_token else found.mean(1)


@right("6.9")
def _(weights, gradients, class_token):
    n = weights.shape[-1]
    bars = torch.where(weights * gradients > 0, weights * gradients, 0.0).mean(2)
    ask = torch.zeros(1, n).to(weights)
    ask[0, 0] = 1
    if not class_token:
        ask[:] = 1 / n
    row = ask.expand(len(bars[0]), 1, n)
    for bar in bars.flip(0):
        row = row + row @ bar
    return (row - ask)[:, 0, int(class_token) :]


@right("6.10")
def _(weights, grid, patch_size):
    n = math.prod(grid)
    looks = weights[..., 1:, 1:] / (1 - weights[..., 1:, :1])
    at = torch.tensor([divmod(k, grid[1]) for k in range(n)]).double() * patch_size
    far = [torch.cdist(x[:, None], x[:, None]) for x in at.T]
    return torch.stack([(looks * d).sum((1, 3, 4)) for d in far], -1) / n / len(weights[0])


@right("6.11")
def _(maps, boxes, grid, patch_size):
    hits = []
    for one, (top, left, bottom, right_) in zip(maps.tolist(), boxes.tolist(), strict=True):
        best = [divmod(k, grid[1]) for k in range(len(one)) if one[k] == max(one)]
        middle = [((y + 0.5) * patch_size, (x + 0.5) * patch_size) for y, x in best]
        inside = [top <= y < bottom and left <= x < right_ for y, x in middle]
        hits.append(sum(inside) / len(inside))
    return torch.tensor(hits)


@right("6.12")
def _(maps, boxes, grid, patch_size):
    p, shares = patch_size, []
    for one, (top, left, bottom, right_) in zip(maps, boxes.tolist(), strict=True):
        large = one.reshape(grid).repeat_interleave(p, 0).repeat_interleave(p, 1)
        shares.append(large[top:bottom, left:right_].sum() / large.sum())
    return torch.stack(shares)


@right("6.13")
def _(score, patches, fill, found):
    places = found.argsort(descending=True).argsort()
    points = []
    for step in range(len(patches) + 1):
        points.append(score(torch.where((places < step)[:, None], patches, fill)))
    return torch.trapezoid(torch.stack(points), dx=1 / len(patches))


@right("6.13")
def _(score, patches, fill, found):
    points = []
    for step in range(len(found) + 1):
        shown = fill.clone()
        shown[found.topk(step).indices] = patches[found.topk(step).indices]
        points.append(score(shown).item())
    return np.mean([(a + b) / 2 for a, b in zip(points, points[1:], strict=False)])


@right("6.14")
def _(one, other):
    found = []
    for a, b in zip(one, other, strict=True):
        ranks = [(m[:, None] > m).sum(1) for m in (a, b)]
        found.append(torch.corrcoef(torch.stack(ranks).double())[0, 1])
    return torch.stack(found)


@right("6.14")
def _(one, other):
    n = one.shape[1]
    places = torch.arange(n).expand_as(one)
    ranks = [torch.zeros_like(places).scatter(1, m.argsort(1), places) for m in (one, other)]
    gaps = (ranks[0] - ranks[1]) ** 2
    return 1 - 6 * gaps.sum(1) / (n * (n**2 - 1))


@right("6.15")
def _(scores, who, whom):
    stays = ~(who.unsqueeze(2) * whom.unsqueeze(1)) | torch.eye(who.shape[1]).bool()
    powers = (scores - scores.amax(-1, keepdim=True)).exp() * stays.unsqueeze(1)
    return powers / powers.sum(-1, keepdim=True)


@right("6.15")
def _(scores, who, whom):
    weights = scores.softmax(-1)
    for i, q, k in torch.nonzero(who[:, :, None] & whom[:, None]).tolist():
        if q != k:
            weights[i, :, q, k] = 0
    return F.normalize(weights, p=1, dim=-1)


@right("6.16")
def _(found, grid, patch_size):
    sizes = dict(h=grid[0], w=grid[1], p=patch_size, q=patch_size)
    return repeat(found, "b (h w) -> b (h p) (w q)", **sizes)


@right("6.16")
def _(found, grid, patch_size):
    table = found.reshape(-1, *grid)
    return torch.kron(table, torch.ones(1, patch_size, patch_size).to(table))


@right("6.16")
def _(found, grid, patch_size):
    return F.interpolate(found.reshape(-1, 1, *grid), scale_factor=patch_size)[:, 0]
