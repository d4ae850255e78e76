"""Chapter 1: a picture becomes a sequence of patches, and back again."""

from einops import rearrange


def patchify(images, patch_size):
    """Cut images into square patches and flatten each one.

    Dosovitskiy et al. 2021, section 3.1: ``x`` of shape H × W × C becomes
    ``x_p`` of shape N × (P² · C), with N = HW / P².

    Args:
        images: (batch, channel, height, width).
        patch_size: side of a patch in pixels; must divide height and width.

    Returns:
        (batch, patch, channel * patch_size * patch_size). Patches run row by
        row from the top left; inside a patch the order is channel, row, column.

    Raises:
        ValueError: the images are not 4-dimensional, or the patch size does not
            divide their height and width.
    """
    check_divisible(images.shape, patch_size)
    pattern = "b c (h ph) (w pw) -> b (h w) (c ph pw)"
    return rearrange(images, pattern, ph=patch_size, pw=patch_size)


def unpatchify(patches, patch_size, grid):
    """Put flattened patches back together: the inverse of :func:`patchify`.

    Args:
        patches: (batch, patch, channel * patch_size * patch_size).
        patch_size: side of a patch in pixels.
        grid: (rows, columns) of patches in the picture.

    Returns:
        Images of shape (batch, channel, rows * patch_size, columns * patch_size).
    """
    rows, columns = grid
    pattern = "b (h w) (c ph pw) -> b c (h ph) (w pw)"
    return rearrange(patches, pattern, h=rows, w=columns, ph=patch_size, pw=patch_size)


def check_divisible(shape, patch_size):
    """Refuse a shape that patches of this size do not tile, and say what would."""
    if len(shape) != 4:
        raise ValueError(
            f"expected images of shape (batch, channel, height, width), got {len(shape)} "
            f"dimensions: {tuple(shape)}; add a batch dimension with images[None]"
        )
    height, width = shape[-2:]
    if patch_size < 1 or height % patch_size or width % patch_size:
        fits = [p for p in range(1, min(height, width) + 1) if not (height % p or width % p)]
        raise ValueError(
            f"patches of side {patch_size} do not tile a {height}×{width} image; "
            f"use a patch size from {fits}, or crop or resize the image"
        )
