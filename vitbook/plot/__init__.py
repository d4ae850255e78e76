"""Figures used by more than one chapter. They know tensors, not models."""

import matplotlib.pyplot as plt
import torch
from cycler import cycler
from matplotlib import patheffects

# Okabe and Ito's palette: distinguishable with every common kind of colour blindness.
BLUE, ORANGE, GREEN, RED, SKY, PURPLE = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#CC79A7",
)

# White paper under every figure, so that it reads the same on a dark page.
STYLE = {
    "figure.dpi": 130,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "white",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=[BLUE, ORANGE, GREEN, RED, SKY, PURPLE]),
    "axes.grid": False,
    "image.interpolation": "nearest",
}


def style():
    """Draw every figure of this process from now on as the chapters do.

    For a single figure: ``with matplotlib.pyplot.rc_context(vitbook.plot.STYLE)``.
    """
    plt.rcParams.update(STYLE)


def show_image(ax, image, title=None):
    """Draw one picture, (channel, height, width), uint8 or floats in 0…1, without ticks."""
    image = image.detach().cpu().permute(1, 2, 0).squeeze(-1)
    top = 255 if image.dtype == torch.uint8 else 1.0
    image = image.float() if image.is_floating_point() else image  # numpy has no bfloat16
    ax.imshow(image.numpy(), cmap="gray", vmin=0, vmax=top)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    if title is not None:
        ax.set_title(title, fontsize=11)


def image_grid(images, titles=None, columns=5, size=1.25):
    """Draw several pictures in rows; returns the axes, one per picture, row by row."""
    rows = -(-len(images) // columns)
    height = size * (1.2 if titles is not None else 1.0)
    figure, axes = plt.subplots(
        rows, columns, figsize=(columns * size, rows * height), squeeze=False
    )
    for ax in axes.flat:
        ax.set_axis_off()
    for i, image in enumerate(images):
        axes.flat[i].set_axis_on()
        show_image(axes.flat[i], image, None if titles is None else titles[i])
    return axes.flatten()[: len(images)]


def patch_lines(ax, shape, patch_size, color="white"):
    """Draw the borders between patches over a picture of (height, width) pixels."""
    for row in range(patch_size, shape[0], patch_size):
        ax.axhline(row - 0.5, color=color, linewidth=0.7)
    for column in range(patch_size, shape[1], patch_size):
        ax.axvline(column - 0.5, color=color, linewidth=0.7)


def frame(ax, top, left, height, width, color):
    """Draw a frame that shows on any ground: a coloured line with a white rim."""
    rim = [patheffects.withStroke(linewidth=4, foreground="white")]
    style = dict(fill=False, edgecolor=color, linewidth=2, path_effects=rim)
    ax.add_patch(plt.Rectangle((left - 0.5, top - 0.5), width, height, **style))


def patch_outline(ax, index, grid, patch_size, color="black"):
    """Frame one patch, counted row by row from the top left."""
    row, column = divmod(int(index), grid[1])
    frame(ax, row * patch_size, column * patch_size, patch_size, patch_size, color)


def box_outline(ax, box, color=RED):
    """Frame a box (top, left, bottom, right) in pixels."""
    top, left, bottom, right = (float(side) for side in box)
    frame(ax, top, left, bottom - top, right - left, color)


def heatmap(ax, values, grid, image=None, title=None, top=None):
    """Draw one number per patch, alone or over a grey copy of the picture.

    Patches keep hard edges: smoothing an 8×8 map would promise detail it does not have.

    Args:
        ax: where to draw.
        values: (patch,), all ≥ 0.
        grid: (rows, columns) of patches.
        image: optional (channel, height, width), drawn beneath.
        title: optional.
        top: the value of the brightest colour; the largest value by default.

    Returns:
        The drawn map, for a colour bar.
    """
    rows, columns = grid
    values = values.detach().cpu().float().reshape(rows, columns).numpy()
    height, width = (rows, columns) if image is None else image.shape[-2:]
    edges = (-0.5, width - 0.5, height - 0.5, -0.5)
    if image is not None:
        grey = image.detach().cpu().float().mean(dim=0)
        ax.imshow(grey.numpy(), cmap="gray", extent=edges)
    drawn = ax.imshow(
        values,
        cmap="viridis",
        vmin=0,
        vmax=top,
        extent=edges,
        alpha=None if image is None else 0.7,
    )
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    if title is not None:
        ax.set_title(title, fontsize=11)
    return drawn
