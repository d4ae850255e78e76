"""Draw what the laboratory shows before any script has run: python scripts/laboratory.py.

book/_static/laboratory/learning.svg: the curves of chapter 5's recorded trainings.
book/_static/laboratory/opening.svg: the CIFAR-10 model on the cat, layer by layer.
"""

import csv
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from vitbook import load_pretrained, plot, record_attention
from vitbook.data import normalize, photograph
from vitbook.explain import mean_query_map

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "book/_static/laboratory"


def learning(target):
    """Loss and held-out accuracy of every recorded training of the digits' recipe."""
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 2.6), layout="constrained")
    for path in sorted(ROOT.glob("vitbook/runs/digits/seed*/history.csv")):
        rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
        epochs = [int(row["epoch"]) for row in rows]
        axes[0].plot(epochs, [float(row["loss"]) for row in rows], color="0.5", lw=1)
        shares = [100 * float(row["test_accuracy"]) for row in rows]
        axes[1].plot(epochs, shares, color="0.5", lw=1)
    axes[0].set(xlabel="epoch", ylabel="loss", ylim=(0, 2.5))
    axes[1].set(xlabel="epoch", ylabel="held out, named rightly, %", ylim=(0, 100))
    figure.savefig(target, metadata={"Date": None})


def opening(target):
    """The cat, and where her patches look on average in each layer."""
    model, cat = load_pretrained("cifar10"), photograph("chelsea", size=32)
    with torch.no_grad(), record_attention(model) as recorded:
        name = model(normalize(cat[None])).softmax(-1)[0].max(-1)
    figure, axes = plt.subplots(1, 7, figsize=(9, 1.7), layout="constrained")
    plot.show_image(axes[0], cat, f"cat, {name.values:.0%}")
    for layer, ax in enumerate(axes[1:]):
        values = mean_query_map(recorded.weights, layer)[0].mean(dim=0)
        plot.heatmap(ax, values, (8, 8), cat, title=f"layer {layer + 1}")
    figure.savefig(target, metadata={"Date": None})


def main():
    plot.style()
    plt.rcParams["svg.hashsalt"] = "vitbook"
    FIGURES.mkdir(exist_ok=True)
    learning(FIGURES / "learning.svg")
    opening(FIGURES / "opening.svg")


if __name__ == "__main__":
    main()
