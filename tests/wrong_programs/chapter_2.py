"""Wrong programs for chapter 2."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from vitbook.patches import patchify
from wrong_programs import wrong


class Embedding(nn.Module):
    """What the wrong ones share: the weights."""

    def __init__(self, patch_size, channels, dim):
        super().__init__()
        self.patch_size, self.channels = patch_size, channels
        self.projection = nn.Linear(channels * patch_size**2, dim)

    def cut(self, images):
        return patchify(images, self.patch_size)

    def square(self, images):
        """Tokens on their grid: (b, h, w, dim)."""
        tokens = self.projection(self.cut(images))
        return tokens.unflatten(1, (images.shape[2] // self.patch_size, -1))


# 2.5 The projection as a convolution


@wrong("2.5", "the matrix is read channels last")
class _(Embedding):
    def forward(self, images):
        p = self.patch_size
        patches = self.cut(images).unflatten(2, (-1, p, p))
        return self.projection(patches.movedim(2, -1).flatten(2))


@wrong("2.5", "the kernels are mirrored along their diagonal")
class _(Embedding):
    def forward(self, images):
        p = self.patch_size
        patches = self.cut(images).unflatten(2, (-1, p, p))
        return self.projection(patches.mT.flatten(2))


@wrong("2.5", "the bias is missing")
class _(Embedding):
    def forward(self, images):
        return self.cut(images) @ self.projection.weight.T


@wrong("2.5", "the grid still has two axes, behind the width")
class _(Embedding):
    def forward(self, images):
        return self.square(images).permute(0, 3, 1, 2)


@wrong("2.5", "tokens and width have changed places: flattened, but not moved")
class _(Embedding):
    def forward(self, images):
        return self.projection(self.cut(images)).transpose(1, 2)


@wrong("2.5", "a reshape does not move the width behind the grid")
class _(Embedding):
    def forward(self, images):
        tokens = self.projection(self.cut(images))
        return tokens.mT.flatten().view_as(tokens)


@wrong("2.5", "the tokens run column by column")
class _(Embedding):
    def forward(self, images):
        return self.square(images).transpose(1, 2).flatten(1, 2)


# 2.6 Tokens that are no patches


@wrong("2.6", "the learned tokens stand at the end")
def _(tokens, class_token):
    return torch.cat([tokens, class_token.repeat(len(tokens), 1, 1)], dim=1)


@wrong("2.6", "zeros are put in front")
def _(tokens, class_token):
    return F.pad(tokens, (0, 0, class_token.shape[1], 0))


@wrong("2.6", "the mean of the patches is put in front")
def _(tokens, class_token):
    mean = tokens.sum(1) / tokens.shape[1]
    return torch.cat([torch.stack([mean] * class_token.shape[1], dim=1), tokens], dim=1)


@wrong("2.6", "only the first of the learned tokens is put in front")
def _(tokens, class_token):
    first = class_token[0, 0].repeat(len(tokens), 1)
    return torch.cat([first[:, None], tokens], dim=1)


@wrong("2.6", "the learned tokens replace the first patches")
def _(tokens, class_token):
    changed = tokens.clone()
    changed[:, : class_token.shape[1]] = class_token
    return changed


@wrong("2.6", "the learned tokens stand in reverse")
def _(tokens, class_token):
    for k in range(class_token.shape[1]):
        front = class_token[:, k : k + 1].expand(len(tokens), -1, -1)
        tokens = torch.cat([front, tokens], dim=1)
    return tokens


@wrong("2.6", "the vector is added to every patch")
def _(tokens, class_token):
    return torch.stack([x + class_token[0].mean(0) for x in tokens])


# 2.7 One axis


def angles_of(places, exponents, temperature):
    return torch.stack([places / temperature**e for e in exponents], dim=1)


def alternate(angles):
    waves = torch.zeros(len(angles), 2 * angles.shape[1], dtype=angles.dtype)
    waves[:, ::2], waves[:, 1::2] = torch.sin(angles), torch.cos(angles)
    return waves


@wrong("2.7", "all sines come first")
def _(places, dim, temperature):
    angles = angles_of(places, [2 * k / dim for k in range(dim // 2)], temperature)
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)


@wrong("2.7", "cosines stand before sines")
def _(places, dim, temperature):
    angles = angles_of(places, [2 * k / dim for k in range(dim // 2)], temperature)
    waves = alternate(angles)
    return torch.stack([waves[:, 1::2], waves[:, ::2]], dim=-1).flatten(1)


@wrong("2.7", "the hands get faster instead of slower")
def _(places, dim, temperature):
    return alternate(angles_of(places, [-2 * k / dim for k in range(dim // 2)], temperature))


@wrong("2.7", "exponents run to a half only")
def _(places, dim, temperature):
    return alternate(angles_of(places, [k / dim for k in range(dim // 2)], temperature))


@wrong("2.7", "exponents run too fast")
def _(places, dim, temperature):
    return alternate(angles_of(places, [4 * k / dim for k in range(dim // 2)], temperature))


@wrong("2.7", "temperature is not used")
def _(places, dim, temperature):
    return alternate(angles_of(places, [2 * k / dim for k in range(dim // 2)], 10_000))


@wrong("2.7", "angles are multiplied by 2π")
def _(places, dim, temperature):
    exponents = [2 * k / dim for k in range(dim // 2)]
    return alternate(math.tau * angles_of(places, exponents, temperature))


# 2.8 Two axes


def grid_waves(grid, dim, temperature=10_000, last=1):
    """Sines and cosines of the rows, then of the columns, each (places, dim / 4)."""
    n = dim // 4
    places = [(i, j) for i in range(grid[0]) for j in range(grid[1])]
    for axis in (0, 1):
        where = torch.tensor([float(place[axis]) for place in places])
        angles = angles_of(where, [k / (n - last) for k in range(n)], temperature)
        yield torch.sin(angles)
        yield torch.cos(angles)


def beside(*waves):
    return torch.cat(waves, dim=1)


@wrong("2.8", "that is the chapter's table")
def _(grid, dim, temperature):
    return beside(*grid_waves(grid, dim, temperature, last=0))


@wrong("2.8", "the numbers of the row come first")
def _(grid, dim, temperature):
    return beside(*grid_waves(grid, dim, temperature))


@wrong("2.8", "the exponents stop before 1")
def _(grid, dim, temperature):
    rs, rc, cs, cc = grid_waves(grid, dim, temperature, last=0)
    return beside(cs, cc, rs, rc)


@wrong("2.8", "places are numbered column by column")
def _(grid, dim, temperature):
    rs, rc, cs, cc = grid_waves(grid, dim, temperature)
    table = beside(cs, cc, rs, rc).unflatten(0, grid)
    return table.transpose(0, 1).flatten(0, 1)


@wrong("2.8", "all sines stand before all cosines")
def _(grid, dim, temperature):
    rs, rc, cs, cc = grid_waves(grid, dim, temperature)
    return beside(cs, rs, cc, rc)


@wrong("2.8", "cosines stand before sines")
def _(grid, dim, temperature):
    rs, rc, cs, cc = grid_waves(grid, dim, temperature)
    return beside(cc, cs, rc, rs)


@wrong("2.8", "temperature is not used")
def _(grid, dim, temperature):
    rs, rc, cs, cc = grid_waves(grid, dim)
    return beside(cs, cc, rs, rc)


@wrong("2.8", "the hands get faster instead of slower")
def _(grid, dim, temperature):
    rs, rc, cs, cc = grid_waves(grid, dim, 1 / temperature)
    return beside(cs, cc, rs, rc)


# 2.9 Resizing, with the class token's row


def as_picture(rows, grid):
    return rows.unflatten(0, grid).permute(2, 0, 1)[None]


def larger(rows, old, new, **how):
    how = {"mode": "bicubic", "antialias": True} | how
    return F.interpolate(as_picture(rows, old), size=new, **how)[0].flatten(1).T


@wrong("2.9", "the class token's row is lost")
def _(table, old_grid, new_grid):
    return larger(table[0, 1:], old_grid, new_grid)[None]


@wrong("2.9", "the class token's row has become zeros")
def _(table, old_grid, new_grid):
    rows = larger(table[0, 1:], old_grid, new_grid)
    return torch.cat([torch.zeros_like(rows[:1]), rows])[None]


@wrong("2.9", "the class token's row stands at the end")
def _(table, old_grid, new_grid):
    return torch.cat([larger(table[0, 1:], old_grid, new_grid), table[0, :1]])[None]


@wrong("2.9", "the last row is taken for the class token's")
def _(table, old_grid, new_grid):
    return torch.cat([larger(table[0, :-1], old_grid, new_grid), table[0, -1:]])[None]


@wrong("2.9", "interpolated linearly; bicubic is asked for")
def _(table, old_grid, new_grid):
    rows = larger(table[0, 1:], old_grid, new_grid, mode="bilinear")
    return torch.cat([table[0, :1], rows])[None]


@wrong("2.9", "antialias is missing")
def _(table, old_grid, new_grid):
    rows = larger(table[0, 1:], old_grid, new_grid, antialias=False)
    return torch.cat([table[0, :1], rows])[None]


@wrong("2.9", "the table is only reshaped to (D, h, w)")
def _(table, old_grid, new_grid):
    cut = table[0, 1:].contiguous().view(1, table.shape[2], *old_grid)
    image = F.interpolate(cut, size=new_grid, mode="bicubic", antialias=True)
    return torch.cat([table[0, :1], image[0].flatten(1).T])[None]


@wrong("2.9", "the table is reshaped there and back: width and places are mixed")
def _(table, old_grid, new_grid):
    cut = table[:, 1:].contiguous().view(1, -1, *old_grid)
    image = F.interpolate(cut, size=new_grid, mode="bicubic", antialias=True)
    return torch.cat([table[:, :1], image.view(1, -1, table.shape[2])], 1)


@wrong("2.9", "the new places are numbered column by column")
def _(table, old_grid, new_grid):
    rows = larger(table[0, 1:], old_grid, new_grid).unflatten(0, new_grid)
    return torch.cat([table[0, :1], rows.transpose(0, 1).flatten(0, 1)])[None]


@wrong("2.9", "corners are aligned")
def _(table, old_grid, new_grid):
    rows = larger(table[0, 1:], old_grid, new_grid, align_corners=True)
    return torch.cat([table[0, :1], rows])[None]


# 2.10 Which places are alike?


def cosines(x):
    return F.cosine_similarity(x[:, None], x[None], dim=-1)


@wrong("2.10", "these are dot products")
def _(table, grid):
    return torch.einsum("id, jd -> ij", table, table).view(*grid, *grid)


@wrong("2.10", "only one of the two rows is divided by its length")
def _(table, grid):
    return (table @ table.T / table.norm(dim=1)[:, None]).view(*grid, *grid)


@wrong("2.10", "the columns of the table are made one long")
def _(table, grid):
    x = table / table.square().sum(0).sqrt()
    return (x @ x.T).view(*grid, *grid)


@wrong("2.10", "divided by the squared length")
def _(table, grid):
    x = table / (table * table).sum(1, keepdim=True)
    return (x @ x.T).view(*grid, *grid)


@wrong("2.10", "that is a correlation, not a cosine")
def _(table, grid):
    return torch.corrcoef(table).view(*grid, *grid)


@wrong("2.10", "the sign is lost")
def _(table, grid):
    return cosines(table).abs().view(*grid, *grid)


@wrong("2.10", "the grid is read as (columns, rows)")
def _(table, grid):
    columns, rows = grid
    return cosines(table).view(rows, columns, rows, columns)


@wrong("2.10", "each of its axes still has to split in two")
def _(table, grid):
    return cosines(table)


# 2.11 The formula behind the hills


def frequencies(dim, temperature):
    n = dim // 4
    return [temperature ** (-k / n) for k in range(n)]


def mean(numbers):
    return sum(numbers) / len(numbers)


@wrong("2.11", "that is the dot product")
def _(rows, columns, dim, t):
    return sum(math.cos(x * f) for x in (rows, columns) for f in frequencies(dim, t))


@wrong("2.11", "divided by dim, but sine and cosine share one frequency")
def _(rows, columns, dim, t):
    return sum(math.cos(x * f) for x in (rows, columns) for f in frequencies(dim, t)) / dim


@wrong("2.11", "rows and columns are multiplied")
def _(rows, columns, dim, t):
    return mean([math.cos(rows * f) * math.cos(columns * f) for f in frequencies(dim, t)])


@wrong("2.11", "the straight distance does not count")
def _(rows, columns, dim, t):
    return mean([math.cos(math.dist((0, 0), (rows, columns)) * f) for f in frequencies(dim, t)])


@wrong("2.11", "rows and columns are added before the cosine")
def _(rows, columns, dim, t):
    return mean([math.cos(f * (rows + columns)) for f in frequencies(dim, t)])


@wrong("2.11", "columns are left out")
def _(rows, columns, dim, t):
    return mean([math.cos(rows * f) for f in frequencies(dim, t)])


@wrong("2.11", "only cos(a - b) is left")
def _(rows, columns, dim, t):
    angles = [x * f for x in (rows, columns) for f in frequencies(dim, t)]
    return mean([math.cos(a) + math.sin(a) for a in angles])


# 2.12 A planted bug


@wrong("2.12", "still two mistakes")
def _(tokens, class_token, position):
    tokens = tokens + position[:, :-1]
    first = class_token.expand(len(tokens), -1, -1)
    return torch.cat([first, tokens], dim=1)


@wrong("2.12", "the class token still has no position")
def _(tokens, class_token, position):
    first = class_token.repeat(len(tokens), 1, 1)
    return torch.cat([first, tokens + position[:, 1:]], dim=1)


@wrong("2.12", "patch 0 takes row 0, which is the class token's")
def _(tokens, class_token, position):
    first = (class_token + position[:, :1]).repeat(len(tokens), 1, 1)
    return torch.cat([first, tokens + position[:, : tokens.shape[1]]], dim=1)


@wrong("2.12", "the class token takes the last row")
def _(tokens, class_token, position):
    first = class_token.repeat(len(tokens), 1, 1)
    return torch.cat([first, tokens], dim=1) + position.roll(1, dims=1)


@wrong("2.12", "the class token stands at the end now")
def _(tokens, class_token, position):
    return torch.cat([tokens, class_token.repeat(len(tokens), 1, 1)], dim=1) + position


@wrong("2.12", "the class token is added to the patches, too")
def _(tokens, class_token, position):
    return F.pad(tokens, (0, 0, 1, 0)) + class_token + position


# 2.13 Back in order


@wrong("2.13", "shuffled once more instead of back")
def _(tokens, order):
    return torch.cat([tokens[:, :1], tokens[:, order + 1]], dim=1)


@wrong("2.13", "nothing has moved")
def _(tokens, order):
    first, patches = tokens[:, :1], tokens[:, 1:]
    patches[:, order][:, order.argsort()]
    return torch.cat([first, patches], dim=1)


@wrong("2.13", "the patches are reversed")
def _(tokens, order):
    return torch.cat([tokens[:, :1], tokens[:, 1:][:, order.tolist()[::-1]]], dim=1)


@wrong("2.13", "the class token is lost")
def _(tokens, order):
    back = torch.empty_like(tokens[:, 1:])
    back[:, order] = tokens[:, 1:]
    return back


@wrong("2.13", "one place too early, over the class token")
def _(tokens, order):
    back = tokens.clone()
    for k, place in enumerate(order.tolist()):
        back[:, place] = tokens[:, k + 1]
    return back


@wrong("2.13", "the class token stands at the end")
def _(tokens, order):
    return torch.cat([tokens[:, 1 + order.argsort()], tokens[:, :1]], dim=1)


# 2.14 and 2.15 Numbers

wrong("2.14", "twice is not enough")(128)
wrong("2.14", "That is narrower; the cosine would grow")(32)
wrong("2.14", "Narrower, and the wrong way round")(16)
wrong("2.14", "at the square of the width it would fall to an eighth")(64**2)
wrong("2.14", "Eight times would bring it down by 2.8")(512)

wrong("2.15", "That is with 10,000, or the mean of all pairs")(0.71)
wrong("2.15", "That is with a temperature of 1,000")(0.63)
wrong("2.15", "That is a dot product")(14.5)
wrong("2.15", "Those are neighbours")(0.966)
wrong("2.15", "A place with itself, or the largest")(1)
