"""Wrong programs for chapter 1."""

import torch
import torch.nn.functional as F
from einops import rearrange

from wrong_programs import wrong


def pair(size):
    return size if isinstance(size, tuple) else (size, size)


def walk(images, ph, pw, down=1, right=1):
    """The squares of a picture, row by row."""
    for top in range(0, images.shape[2] - ph + 1, down):
        for left in range(0, images.shape[3] - pw + 1, right):
            yield images[:, :, top : top + ph, left : left + pw]


# 1.5 Patches that are not square


@wrong("1.5", "ph and pw have changed places")
def _(images, patch_size):
    pw, ph = pair(patch_size)
    return torch.stack([x.flatten(1) for x in walk(images, ph, pw, ph, pw)], dim=1)


@wrong("1.5", "the patches are square: only the first number of the pair is used")
def _(images, patch_size):
    p, _ = pair(patch_size)
    return F.unfold(images, p, stride=p).mT


@wrong("1.5", "the patches are numbered column by column: (w h) for (h w)?")
def _(images, patch_size):
    ph, pw = pair(patch_size)
    x = images.unfold(2, ph, ph).unfold(3, pw, pw)  # b c h w ph pw
    return x.permute(0, 3, 2, 1, 4, 5).flatten(3).flatten(1, 2)


@wrong("1.5", "inside a patch pixels run down the columns")
def _(images, patch_size):
    ph, pw = pair(patch_size)
    return torch.stack([x.mT.flatten(1) for x in walk(images, ph, pw, ph, pw)], dim=1)


@wrong("1.5", "inside a patch the channel runs fastest")
def _(images, patch_size):
    ph, pw = pair(patch_size)
    squares = [x.movedim(1, -1).flatten(1) for x in walk(images, ph, pw, ph, pw)]
    return torch.stack(squares, dim=1)


@wrong("1.5", "each patch collects pixels from all over")
def _(images, patch_size):
    ph, pw = pair(patch_size)
    h, w = images.shape[2] // ph, images.shape[3] // pw
    every = [images[:, :, i::h, j::w].flatten(1) for i in range(h) for j in range(w)]
    return torch.stack(every, dim=1)


@wrong("1.5", "pixels are only counted off in their old order")
def _(images, patch_size):
    ph, pw = pair(patch_size)
    return images.flatten(1).unflatten(1, (-1, images.shape[1] * ph * pw))


@wrong("1.5", "the channel still stands before the grid")
def _(images, patch_size):
    ph, pw = pair(patch_size)
    x = images.unfold(2, ph, ph).unfold(3, pw, pw)
    return x.reshape(len(images), -1, images.shape[1] * ph * pw)


@wrong("1.5", "patches and their numbers have changed places")
def _(images, patch_size):
    return F.unfold(images, patch_size, stride=patch_size)


# 1.6 Channels last


@wrong("1.6", "inside a patch the channel comes first; here it runs fastest")
def _(images, patch_size):
    return F.unfold(images.permute(0, 3, 1, 2), patch_size, stride=patch_size).mT


@wrong("1.6", "a reshape to (b, c, H, W) moves no channel, it mixes pixels")
def _(images, patch_size):
    b, height, width, c = images.shape
    squares = walk(images.view(b, c, height, width), *pair(patch_size), *pair(patch_size))
    return torch.stack([x.movedim(1, -1).flatten(1) for x in squares], dim=1)


@wrong("1.6", "channels are brought first by a reshape, which mixes pixels, and stay first")
def _(images, patch_size):
    b, height, width, c = images.shape
    return F.unfold(images.view(b, c, height, width), patch_size, stride=patch_size).mT


@wrong("1.6", "pixels are only counted off in their old order")
def _(images, patch_size):
    return images.flatten(1).unflatten(1, (-1, patch_size**2 * images.shape[-1]))


@wrong("1.6", "the patches are numbered column by column")
def _(images, patch_size):
    strips = images.split(patch_size, dim=2)
    squares = [y.flatten(1) for x in strips for y in x.split(patch_size, dim=1)]
    return torch.stack(squares, dim=1)


@wrong("1.6", "inside a patch pixels run down the columns")
def _(images, patch_size):
    strips = images.split(patch_size, dim=1)
    squares = [y.transpose(1, 2).flatten(1) for x in strips for y in x.split(patch_size, 2)]
    return torch.stack(squares, dim=1)


@wrong("1.6", "each patch collects pixels from all over")
def _(images, patch_size):
    h, w = (side // patch_size for side in images.shape[1:3])
    every = [images[:, i::h, j::w].flatten(1) for i in range(h) for j in range(w)]
    return torch.stack(every, dim=1)


# 1.7 There and back, without einops


@wrong("1.7", "the grid is read as (columns, rows)")
def _(patches, patch_size, grid):
    side = grid[1] * patch_size, grid[0] * patch_size
    return F.fold(patches.mT, side, patch_size, stride=patch_size)


@wrong("1.7", "reshape alone moves no pixel")
def _(patches, patch_size, grid):
    h, w = grid
    return patches.flatten(1).view(len(patches), -1, h * patch_size, w * patch_size)


@wrong("1.7", "the patches are read column by column")
def _(patches, patch_size, grid):
    h, w = grid
    rows = [torch.cat(squares(patches, patch_size)[i::h], dim=-1) for i in range(h)]
    return torch.cat(rows, dim=-2)


def squares(patches, p):
    return list(patches.unflatten(2, (-1, p, p)).unbind(1))


def laid(cells, w):
    rows = [torch.cat(cells[i : i + w], dim=-1) for i in range(0, len(cells), w)]
    return torch.cat(rows, dim=-2)


@wrong("1.7", "each patch is mirrored along its diagonal")
def _(patches, patch_size, grid):
    return laid([x.mT for x in squares(patches, patch_size)], grid[1])


@wrong("1.7", "the channel is taken for the fastest number of a patch")
def _(patches, patch_size, grid):
    x = patches.unflatten(2, (patch_size, patch_size, -1)).permute(0, 1, 4, 2, 3)
    return laid(list(x.unbind(1)), grid[1])


@wrong("1.7", "the picture is woven")
def _(patches, patch_size, grid):
    x = patches.unflatten(2, (-1, patch_size, patch_size)).unflatten(1, grid)
    return x.permute(0, 3, 4, 1, 5, 2).flatten(4).flatten(2, 3)


@wrong("1.7", "height and width have changed places")
def _(patches, patch_size, grid):
    return laid(squares(patches, patch_size), grid[1]).mT


@wrong("1.7", "it calls rearrange, which is what you are to write")
def _(patches, patch_size, grid):
    return rearrange(
        patches,
        "b (h w) (c p q) -> b c (h p) (w q)",
        h=grid[0],
        p=patch_size,
        q=patch_size,
    )


# 1.8 Overlap


@wrong("1.8", "windows step by their own width")
def _(images, patch_size, stride):
    p = patch_size
    return torch.stack([x.flatten(1) for x in walk(images, p, p, p, p)], dim=1)


@wrong("1.8", "windows step by a single pixel")
def _(images, patch_size, stride):
    p = patch_size
    return torch.stack([x.flatten(1) for x in walk(images, p, p)], dim=1)


@wrong("1.8", "windows at the far edge are missing")
def _(images, patch_size, stride):
    p, found = patch_size, []
    for top in range(0, images.shape[2] - p, stride):
        for left in range(0, images.shape[3] - p, stride):
            found.append(images[:, :, top : top + p, left : left + p].flatten(1))
    return torch.stack(found, dim=1)


@wrong("1.8", "windows hang over the border and are filled up with zeros")
def _(images, patch_size, stride):
    p, found = patch_size, []
    for top in range(0, images.shape[2], stride):
        for left in range(0, images.shape[3], stride):
            window = images[:, :, top : top + p, left : left + p]
            below, beside = p - window.shape[2], p - window.shape[3]
            found.append(F.pad(window, (0, beside, 0, below)).flatten(1))
    return torch.stack(found, dim=1)


@wrong("1.8", "the windows are numbered column by column")
def _(images, patch_size, stride):
    p = patch_size
    turned = walk(images.mT, p, p, stride, stride)
    return torch.stack([x.mT.flatten(1) for x in turned], dim=1)


@wrong("1.8", "inside a window pixels run down the columns")
def _(images, patch_size, stride):
    p = patch_size
    return torch.stack([x.mT.flatten(1) for x in walk(images, p, p, stride, stride)], dim=1)


@wrong("1.8", "inside a window the channel runs fastest")
def _(images, patch_size, stride):
    found = walk(images, patch_size, patch_size, stride, stride)
    return torch.stack([x.permute(0, 2, 3, 1).flatten(1) for x in found], dim=1)


@wrong("1.8", "windows and their numbers have changed places")
def _(images, patch_size, stride):
    p = patch_size
    return torch.stack([x.flatten(1) for x in walk(images, p, p, stride, stride)], dim=2)


@wrong("1.8", "it calls unfold, which is what you are to write")
def _(images, patch_size, stride):
    return F.unfold(images, patch_size, stride=stride).mT


# 1.9 How many?


@wrong("1.9", "the number of steps is counted")
def _(height, width, patch_size, stride):
    h, w = ((n - patch_size) // stride for n in (height, width))
    return h * w, (h * w) ** 2


@wrong("1.9", "side / stride counts windows that hang over the border")
def _(height, width, patch_size, stride):
    n = len(range(stride, height + 1, stride)) * len(range(stride, width + 1, stride))
    return n, n * n


@wrong("1.9", "is right without overlap only")
def _(height, width, patch_size, stride):
    n = int(height / patch_size) * int(width / patch_size)
    return n, n * n


@wrong("1.9", "the picture is taken for a square")
def _(height, width, patch_size, stride):
    n = len(range(0, height - patch_size + 1, stride)) ** 2
    return n, n * n


def places(height, width, p, s):
    return len(range(0, height - p + 1, s)) * len(range(0, width - p + 1, s))


@wrong("1.9", "here a looks at b, and b at a")
def _(*sizes):
    n = places(*sizes)
    return n, sum(range(n))


@wrong("1.9", "here each token meets every token, both ways")
def _(*sizes):
    n = places(*sizes)
    return n, sum(range(n + 1))


@wrong("1.9", "a token meets itself, too")
def _(*sizes):
    n = places(*sizes)
    return n, n * n - n


@wrong("1.9", "not with twice their number")
def _(*sizes):
    n = places(*sizes)
    return n, n + n


# 1.10 A planted bug


@wrong("1.10", "inside a patch pixels still run down the columns")
def _(images, kernel):
    p = kernel.shape[-1]
    patches = torch.stack([x.mT.flatten(1) for x in walk(images, p, p, p, p)], dim=1)
    return patches @ kernel.flatten(1).T


@wrong("1.10", "now the patches are numbered column by column; the mistake is inside")
def _(images, kernel):
    turned = F.conv2d(images, kernel.mT, stride=kernel.shape[-1])
    return turned.mT.flatten(2).mT


@wrong("1.10", "the inside of a patch is right now, but the grid runs down the columns")
def _(images, kernel):
    return F.conv2d(images, kernel, stride=kernel.shape[-1]).mT.flatten(2).mT


@wrong("1.10", "now the channel runs fastest inside a patch")
def _(images, kernel):
    p = kernel.shape[-1]
    last = [x.movedim(1, -1).flatten(1) for x in walk(images, p, p, p, p)]
    return torch.stack(last, dim=1) @ kernel.flatten(1).T


@wrong("1.10", "PyTorch's convolution does not flip it")
def _(images, kernel):
    turned = torch.rot90(kernel, 2, (2, 3))
    return F.conv2d(images, turned, stride=kernel.shape[-1]).flatten(2).mT


# 1.11 Neighbours, up and down


def apart(x, axis):
    return torch.diff(x, dim=axis).abs().movedim(axis, 0).flatten(1).mean(1).tolist()


def mean(numbers):
    return sum(numbers) / len(numbers)


def parted(steps, p, border):
    inside = [d for k, d in enumerate(steps) if k % p != border % p]
    return mean(inside), mean(steps[border % p :: p])


@wrong("1.11", "these are neighbours to the right")
def _(images, patch_size):
    return parted(apart(images, 3), patch_size, -1)


@wrong("1.11", "the border is off by one")
def _(images, patch_size):
    return parted(apart(images, 2), patch_size, 0)


@wrong("1.11", "inside and across have changed places")
def _(images, patch_size):
    inside, across = parted(apart(images, 2), patch_size, -1)
    return across, inside


@wrong("1.11", "ups and downs cancel")
def _(images, patch_size):
    steps = torch.diff(images.mean(dim=(0, 1, 3)))
    return parted(steps.tolist(), patch_size, -1)


@wrong("1.11", "the differences are squared")
def _(images, patch_size):
    steps = torch.diff(images, dim=2).pow(2).mean(dim=(0, 1, 3))
    return parted(steps.tolist(), patch_size, -1)


# 1.12 and 1.13 Numbers

wrong("1.12", "That is how much longer a side is")(12 / 7)
wrong("1.12", "That is how many times as many patches")(576 / 196)
wrong("1.12", "four factors, not three")(5.04)
wrong("1.12", "That is how many pairs there are")(331_776)
wrong("1.12", "That is the other way round")(0.1158)
wrong("1.12", "A number is asked for, and this is a str")("8.64 times")

wrong("1.13", "That is the cat in order")(0.058)
wrong("1.13", "That is across borders alone")(0.117)
wrong("1.13", "That is across borders of patches of 4")(0.123)
wrong("1.13", "That is with patches of 4")(0.073)
wrong("1.13", "That is the plain mean of inside and across")(0.0865)


# 1.14 Larger patches out of small ones


def fours(patches, patch_size, grid):
    """Top left, top right, bottom left and bottom right of each four: (b, n, c, p, p)."""
    p, (h, w) = patch_size, grid
    x = patches.unflatten(2, (-1, p, p)).unflatten(1, (h, w))
    corners = [x[:, i::2, j::2].flatten(1, 2) for i in (0, 1) for j in (0, 1)]
    return corners


@wrong("1.14", "four patches lie one behind the other; the rows of the large one")
def _(patches, patch_size, grid):
    return torch.cat([x.flatten(2) for x in fours(patches, patch_size, grid)], dim=2)


@wrong("1.14", "four patches lie one behind the other inside each channel")
def _(patches, patch_size, grid):
    corners = [x.flatten(3) for x in fours(patches, patch_size, grid)]
    return torch.cat(corners, dim=3).flatten(2)


@wrong("1.14", "four that follow each other in the sequence are joined")
def _(patches, patch_size, grid):
    return torch.cat([patches[:, i::4] for i in range(4)], dim=2)


@wrong("1.14", "pixels alternate between small patches")
def _(patches, patch_size, grid):
    a, b, c, d = fours(patches, patch_size, grid)
    top, bottom = (torch.stack(x, dim=-1).flatten(-2) for x in ((a, b), (c, d)))
    return torch.stack([top, bottom], dim=-2).flatten(-3, -2).flatten(2)


@wrong("1.14", "right and below have changed places among the four")
def _(patches, patch_size, grid):
    a, b, c, d = fours(patches, patch_size, grid)
    rows = [torch.cat([a, c], dim=-1), torch.cat([b, d], dim=-1)]
    return torch.cat(rows, dim=-2).flatten(2)


@wrong("1.14", "patches from distant halves are joined")
def _(patches, patch_size, grid):
    x = patches.unflatten(2, (-1, patch_size, patch_size)).unflatten(1, grid)
    top, bottom = x.chunk(2, dim=1)
    rows = [torch.cat(half.chunk(2, dim=2), dim=-1) for half in (top, bottom)]
    return torch.cat(rows, dim=-2).flatten(1, 2).flatten(2)


@wrong("1.14", "the four are averaged; all their numbers are to be kept")
def _(patches, patch_size, grid):
    return (sum(fours(patches, patch_size, grid)) / 4).flatten(2)


@wrong("1.14", "the grid is read as (columns, rows)")
def _(patches, patch_size, grid):
    a, b, c, d = fours(patches, patch_size, (grid[1], grid[0]))
    return torch.cat([torch.cat([a, b], -1), torch.cat([c, d], -1)], -2).flatten(2)


# 1.15 An evening: the jigsaw


def lay(pieces, grid, misfit, left_out=lambda order: order):
    """For each place the piece with the smallest misfit(left, above, piece)."""
    order = [0]
    while len(order) < len(pieces):
        row, column = divmod(len(order), grid[1])
        left = pieces[order[-1]] if column else None
        above = pieces[order[-grid[1]]] if row else None
        free = [k for k in range(len(pieces)) if k not in left_out(order)]
        order.append(min(free, key=lambda k, x=left, y=above: misfit(x, y, pieces[k])))
    return order


def along(left, above, piece, size=torch.abs, columns=(-1, 0), rows=(-1, 0)):
    total = torch.zeros(())
    if left is not None:
        total = total + size(left[:, :, columns[0]] - piece[:, :, columns[1]]).sum()
    if above is not None:
        total = total + size(above[:, rows[0]] - piece[:, rows[1]]).sum()
    return total.item()


@wrong("1.15", "only the piece on the left is asked")
def _(pieces, grid):
    return lay(pieces, grid, lambda left, above, piece: along(left, None, piece))


@wrong("1.15", "only the piece above is asked")
def _(pieces, grid):
    return lay(pieces, grid, lambda left, above, piece: along(None, above, piece))


@wrong("1.15", "a piece is laid more than once")
def _(pieces, grid):
    return lay(pieces, grid, along, left_out=lambda order: order[-1:])


@wrong("1.15", "the wrong columns are compared")
def _(pieces, grid):
    return lay(pieces, grid, lambda *x: along(*x, columns=(0, -1)))


@wrong("1.15", "the wrong rows are compared")
def _(pieces, grid):
    return lay(pieces, grid, lambda *x: along(*x, rows=(0, -1)))


@wrong("1.15", "left is compared with left and top with top")
def _(pieces, grid):
    return lay(pieces, grid, lambda *x: along(*x, columns=(0, 0), rows=(0, 0)))


@wrong("1.15", "the differences are squared")
def _(pieces, grid):
    return lay(pieces, grid, lambda *x: along(*x, size=lambda d: d**2))


@wrong("1.15", "differences of both signs cancel")
def _(pieces, grid):
    return lay(pieces, grid, lambda *x: along(*x, size=lambda d: d))


@wrong("1.15", "for each piece you give its place")
def _(pieces, grid):
    return torch.tensor(lay(pieces, grid, along)).argsort().tolist()
