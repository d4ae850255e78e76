"""Draw the picture on the cover page: python scripts/draw_cover.py."""

from pathlib import Path

import matplotlib.pyplot as plt
import torch.nn.functional as F
from einops import rearrange

from vitbook import patchify, plot
from vitbook.attention import attention
from vitbook.data import photograph

TARGET = Path(__file__).resolve().parent.parent / "book/_static/cover.png"


def colour_attention(image, patch_size):
    """Chapter 3's hand-made attention: patches look at patches of their colour."""
    patches = patchify(image[None] / 255, patch_size)[0]
    colour = rearrange(patches, "n (c pixels) -> n c pixels", c=3).mean(dim=-1)
    unit = F.normalize(colour - colour.mean(dim=0), dim=-1)
    return attention(8 * 3**0.5 * unit, unit, colour)[1]


def main():
    cat, coffee = photograph("chelsea", 32), photograph("coffee", 96)
    figure, axes = plt.subplots(1, 4, figsize=(9, 2.4))
    plot.show_image(axes[0], cat, "a picture …")
    plot.patch_lines(axes[0], (32, 32), 4)
    plot.show_image(axes[1], coffee, "… whose patches …")
    plot.patch_outline(axes[1], 24 * 5 + 6, (24, 24), 4)
    weights = colour_attention(coffee, 4)
    for ax, query, title in (
        (axes[2], 24 * 5 + 6, "… look at …"),
        (axes[3], 24 * 20 + 9, "… each other"),
    ):
        plot.heatmap(ax, weights[query], (24, 24), title=title)
        plot.patch_outline(ax, query, (24, 24), 1)
    figure.savefig(TARGET, dpi=150)


if __name__ == "__main__":
    main()
