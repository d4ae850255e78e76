"""Right programs for chapter 1, in other forms."""

import torch
import torch.nn.functional as F
from einops import rearrange

from right_programs import right


@right("1.5")
def _(images, patch_size):
    return F.unfold(images, patch_size, stride=patch_size).transpose(1, 2)


@right("1.5")
def _(images, patch_size):
    ph, pw = (patch_size, patch_size) if isinstance(patch_size, int) else patch_size
    x = images.float().unfold(2, ph, ph).unfold(3, pw, pw)
    return x.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


@right("1.6")
def _(images, patch_size):
    strips = images.split(patch_size, dim=1)
    squares = [y.flatten(1) for x in strips for y in x.split(patch_size, dim=2)]
    return torch.stack(squares, dim=1)


@right("1.7")
def _(patches, patch_size, grid):
    side = grid[0] * patch_size, grid[1] * patch_size
    return F.fold(patches.mT, side, patch_size, stride=patch_size)


@right("1.8")
def _(images, patch_size, stride):
    x = images.unfold(2, patch_size, stride).unfold(3, patch_size, stride)
    return rearrange(x, "b c h w p q -> b (h w) (c p q)")


@right("1.9")
def _(height, width, patch_size, stride):
    n = len(range(patch_size, height + 1, stride)) * len(range(patch_size, width + 1, stride))
    return [float(n), n * n]


@right("1.10")
def _(images, kernel):
    return F.conv2d(images, kernel, stride=kernel.shape[-1]).flatten(2).mT


@right("1.10")
def _(images, kernel):
    p = kernel.shape[-1]
    x = rearrange(images, "b c (h p) (w q) -> b (h w) c p q", p=p, q=p)
    return torch.einsum("bncpq, dcpq -> bnd", x, kernel)


@right("1.11")
def _(images, patch_size):
    steps = images.diff(dim=2).abs()
    across = steps[:, :, patch_size - 1 :: patch_size]
    inside = (steps.sum() - across.sum()) / (steps.numel() - across.numel())
    return inside, across.mean()


@right("1.14")
def _(patches, patch_size, grid):
    p = patch_size
    side = grid[0] * p, grid[1] * p
    images = F.fold(patches.mT, side, p, stride=p)
    return F.unfold(images, 2 * p, stride=2 * p).mT


@right("1.15")
def _(pieces, grid):
    order = [0]
    for place in range(1, len(pieces)):
        misfit = torch.zeros(len(pieces), dtype=pieces.dtype)
        if place % grid[1]:
            misfit += (pieces[..., 0] - pieces[order[-1], ..., -1]).abs().flatten(1).sum(1)
        if place >= grid[1]:
            above = pieces[order[-grid[1]], :, -1]
            misfit += (pieces[:, :, 0] - above).abs().flatten(1).sum(1)
        misfit[order] = torch.inf
        order.append(int(misfit.argmin()))
    return order
