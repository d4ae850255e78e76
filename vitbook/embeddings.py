"""Chapter 2: patches become tokens that know where they were."""

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import nn

from vitbook.patches import patchify


class PatchEmbedding(nn.Module):
    """Project each flattened patch to the model's width: ``x_p E`` in eq. 1.

    Args:
        patch_size: side of a patch in pixels.
        channels: channels of the images.
        dim: width of a token.

    Shapes: images (batch, channel, height, width) → (batch, patch, dim).
    """

    def __init__(self, patch_size, channels, dim):
        super().__init__()
        self.patch_size = patch_size
        self.projection = nn.Linear(channels * patch_size**2, dim)

    def forward(self, images):
        return self.projection(patchify(images, self.patch_size))


def sincos_2d(grid, dim, temperature=10_000):
    """Fixed position table: half of the width codes the row, half the column.

    The one-dimensional table of Vaswani et al. 2017, section 3.5, once per axis: rows first,
    exponents over dim // 4. (big_vision's has columns first, and divides by dim // 4 - 1.)

    Args:
        grid: (rows, columns) of patches.
        dim: width of a token; must be divisible by 4 (sine and cosine, two axes).
        temperature: the longest wavelength approaches 2π · temperature patches.

    Returns:
        (rows * columns, dim), in the order of :func:`vitbook.patches.patchify`.

    Raises:
        ValueError: dim is not divisible by 4.
    """
    if dim % 4:
        raise ValueError(f"sincos positions need dim divisible by 4, got dim={dim}")
    frequencies = temperature ** -(torch.arange(dim // 4) / (dim // 4))
    rows, columns = torch.meshgrid(*map(torch.arange, grid), indexing="ij")
    row_angles = rows.flatten()[:, None] * frequencies
    column_angles = columns.flatten()[:, None] * frequencies
    waves = [row_angles.sin(), row_angles.cos(), column_angles.sin(), column_angles.cos()]
    return torch.cat(waves, dim=1)


def resize_positions(table, old_grid, new_grid):
    """Stretch a position table to another grid (section 3.2, "2D interpolation").

    Args:
        table: (old rows * old columns, dim), without the class token's row.
        old_grid: (rows, columns) the table was made for.
        new_grid: (rows, columns) wanted.

    Returns:
        (new rows * new columns, dim), by bicubic interpolation (the paper's code: linear).
    """
    rows, columns = old_grid
    image = rearrange(table, "(h w) d -> 1 d h w", h=rows, w=columns)
    image = F.interpolate(image.float(), tuple(new_grid), mode="bicubic", antialias=True)
    return rearrange(image, "1 d h w -> (h w) d").to(table.dtype)


class Embeddings(nn.Module):
    """Eq. 1: ``z_0 = [x_class; x_p^1 E; …; x_p^N E] + E_pos``.

    Args:
        grid: (rows, columns) of patches.
        patch_size, channels, dim: as in :class:`PatchEmbedding`.
        class_token: whether a learned token is put in front.
        position: "learned", "sincos" or "none".

    Shapes: images (batch, channel, height, width) → (batch, token, dim), where
    token = patches, plus one if there is a class token. The class token has a row
    of its own in the position table (zero for "sincos", as in MAE and big_vision).
    """

    def __init__(self, grid, patch_size, channels, dim, class_token=True, position="learned"):
        super().__init__()
        self.patches = PatchEmbedding(patch_size, channels, dim)
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim)) if class_token else None
        table = position_table(position, grid, dim, class_token)
        self.position = nn.Parameter(table, requires_grad=position == "learned")

    def forward(self, images):
        tokens = self.patches(images)
        if self.class_token is not None:
            first = repeat(self.class_token, "1 1 d -> b 1 d", b=images.shape[0])
            tokens = torch.cat([first, tokens], dim=1)
        return tokens + self.position


def position_table(kind, grid, dim, class_token):
    """The initial table E_pos of one kind: (1, token, dim).

    Raises:
        ValueError: kind is not "learned", "sincos" or "none".
    """
    rows, columns = grid
    if kind == "learned":
        return nn.init.trunc_normal_(
            torch.empty(1, rows * columns + class_token, dim), std=0.02
        )
    if kind == "none":
        return torch.zeros(1, rows * columns + class_token, dim)
    if kind == "sincos":
        return F.pad(sincos_2d(grid, dim), (0, 0, int(class_token), 0))[None]
    raise ValueError(f'position must be "learned", "sincos" or "none", got {kind!r}')
