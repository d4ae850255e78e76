"""Draw what the cover page shows: python scripts/draw_cover.py.

One picture for each chapter, and all of them in a row, into book/_static/cover/.
"""

import csv
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from einops import rearrange

from vitbook import load_pretrained, patchify, plot
from vitbook.attention import attention
from vitbook.data import digits_canvas, load, normalize, photograph
from vitbook.explain import logit_lens, position_similarity, record_attention, rollout

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "book/_static/cover"


def patches(ax):
    """A cat under a grid of 8 × 8 patches."""
    cat = photograph("chelsea", 32)
    plot.show_image(ax, cat)
    plot.patch_lines(ax, (32, 32), 4)


def embeddings(ax):
    """How alike the positions of the trained model are to the one at (3, 3)."""
    table = load_pretrained("digits-canvas").embeddings.position[0, 1:]
    plot.heatmap(ax, position_similarity(table, (8, 8))[3, 3].clamp(min=0), (8, 8))


def looks(ax):
    """Chapter 3's hand-made attention: patches look at patches of their colour."""
    image, query = photograph("coffee", 96), 24 * 20 + 9
    pieces = patchify(image[None] / 255, 4)[0]
    colour = rearrange(pieces, "n (c pixels) -> n c pixels", c=3).mean(dim=-1)
    unit = F.normalize(colour - colour.mean(dim=0), dim=-1)
    plot.heatmap(ax, attention(8 * 3**0.5 * unit, unit, colour)[1][query], (24, 24))
    plot.patch_outline(ax, query, (24, 24), 1)


@torch.no_grad()
def encoder(ax):
    """How sure the model is of the right digit after each block, on 40 canvases."""
    model = load_pretrained("digits-canvas")
    canvases, labels, _ = digits_canvas(load("digits").test, count=40, seed=3)
    sure = logit_lens(model, normalize(canvases)).softmax(dim=-1)
    right = sure[:, range(len(labels)), labels]  # (stage, image)
    ax.plot(right, color=plot.BLUE, alpha=0.35, linewidth=1)
    ax.plot(right.mean(dim=1), color=plot.ORANGE, linewidth=4)


def training(ax):
    """Accuracy by epoch of the five recorded trainings on digits."""
    for path in sorted(ROOT.glob("vitbook/runs/digits/seed*/history.csv")):
        with open(path) as file:
            hits = [float(row["test_accuracy"]) for row in csv.DictReader(file)]
        ax.plot(hits, color=plot.GREEN, linewidth=2, alpha=0.7)


@torch.no_grad()
def maps(ax):
    """Rollout on a canvas, and the box in which the digit lies."""
    model = load_pretrained("digits-canvas")
    canvases, _, boxes = digits_canvas(load("digits").test, count=4, seed=3)
    with record_attention(model) as recorded:
        model(normalize(canvases))
    plot.heatmap(ax, rollout(recorded.weights)[3, 0, 1:], (8, 8), canvases[3])
    plot.box_outline(ax, boxes[3])


FIGURES = {
    "patches": patches,
    "embeddings": embeddings,
    "attention": looks,
    "encoder": encoder,
    "training": training,
    "attention_maps": maps,
}


def draw(name, drawings):
    """Squares in a row without ground, ticks or frame: they lie on light and dark pages."""
    size = (2.4 * len(drawings), 2.4)
    figure, axes = plt.subplots(1, len(drawings), figsize=size, squeeze=False)
    for ax, drawing in zip(axes[0], drawings, strict=True):
        drawing(ax)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.patch.set_alpha(0)
    figure.savefig(TARGET / f"{name}.png", dpi=150, transparent=True)
    plt.close(figure)


def main():
    TARGET.mkdir(exist_ok=True)
    with plt.rc_context(plot.STYLE):
        for name, figure_of in FIGURES.items():
            draw(name, [figure_of])
        draw("all", FIGURES.values())  # for the cards of pages without a figure


if __name__ == "__main__":
    main()
