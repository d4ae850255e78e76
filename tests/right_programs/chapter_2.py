"""Right programs for chapter 2, in other forms."""

import math

import torch
import torch.nn.functional as F
from einops import repeat
from torch import nn

from right_programs import right
from vitbook.embeddings import sincos_2d
from vitbook.patches import patchify


@right("2.5")
class _(nn.Module):
    def __init__(self, patch_size, channels, dim):
        super().__init__()
        self.patch_size = patch_size
        self.projection = nn.Linear(channels * patch_size**2, dim)

    def forward(self, images):
        return self.projection(patchify(images, self.patch_size))


@right("2.6")
def _(tokens, class_token):
    return torch.cat([repeat(class_token, "1 k d -> b k d", b=len(tokens)), tokens], dim=1)


@right("2.7")
def _(places, dim, temperature=10_000):
    columns = []
    for k in range(dim // 2):
        angle = places.float() * math.exp(-math.log(temperature) * 2 * k / dim)
        columns += [angle.sin(), angle.cos()]
    return torch.stack(columns, dim=1)


@right("2.8")
def _(grid, dim, temperature=10_000):
    (h, w), n = grid, dim // 4
    frequencies = 1 / temperature ** torch.linspace(0, 1, n, dtype=torch.float64)
    rows, columns = (torch.outer(torch.arange(k).double(), frequencies) for k in (h, w))
    y = torch.cat([rows.sin(), rows.cos()], dim=1)[:, None].expand(h, w, 2 * n)
    x = torch.cat([columns.sin(), columns.cos()], dim=1)[None].expand(h, w, 2 * n)
    return torch.cat([x, y], dim=2).reshape(h * w, dim)


@right("2.9")
def _(table, old_grid, new_grid):
    image = table[:, 1:].mT.unflatten(2, old_grid)
    image = F.interpolate(image, size=new_grid, mode="bicubic", antialias=True)
    return torch.cat([table[:, :1], image.flatten(2).mT], dim=1)


@right("2.10")
def _(table, grid):
    return F.cosine_similarity(table[:, None], table[None], dim=-1).view(*grid, *grid)


@right("2.11")
def _(rows, columns, dim, temperature=10_000):
    unit = F.normalize(sincos_2d((rows + 1, columns + 1), dim, temperature), dim=1)
    return unit[0] @ unit[-1]


@right("2.12")
def _(tokens, class_token, position):
    first = class_token + position[:, :1]
    return torch.cat([first.repeat(len(tokens), 1, 1), tokens + position[:, 1:]], dim=1)


@right("2.13")
def _(tokens, order):
    back = tokens.clone()
    back[:, 1 + order] = tokens[:, 1:]
    return back
