"""Where the neighbourhoods of a position table come from: python scripts/position_order.py.

Chapter 5's digits model with learned positions is trained five times in each of four ways:
with the patches in order, in one wrong order that is the same for every picture, in a new
order for every picture and step, and in order with labels drawn by lot. The mean cosine of
table rows whose patches touch, and of all others, goes to vitbook/runs/position_order.json.
"""

import json
import time
from pathlib import Path

import torch
from torch import nn

from vitbook import VisionTransformer, patchify, preset, unpatchify
from vitbook.data import load
from vitbook.explain import position_similarity
from vitbook.training import TrainConfig, train
from vitbook.training.engine import write_whole
from vitbook.training.runs import commit, device_name

RECORD = Path(__file__).resolve().parent.parent / "vitbook/runs/position_order.json"
KINDS = ("in order", "one wrong order", "a new order each time", "labels by lot")
SEEDS = range(5)
GRID, SIDE = (4, 4), 2


class Reordered(nn.Module):
    """A model that is shown the patches of every picture in another order.

    Args:
        model: from images to logits.
        order: (patch,), which patch stands at each place; None draws one per picture.
    """

    def __init__(self, model, order=None):
        super().__init__()
        self.model, self.order = model, order

    def forward(self, images):
        patches = patchify(images, SIDE)
        order = self.order
        if order is None:
            order = torch.rand(patches.shape[:2]).argsort(dim=1)
        order = order.expand(patches.shape[:2])[..., None].expand_as(patches)
        return self.model(unpatchify(patches.gather(1, order), SIDE, GRID))


def touching_and_others(table, shown, grid=GRID):
    """Mean cosine of the rows whose patches touch along a side, and of all other pairs.

    Args:
        table: (place, dim).
        shown: (place,), the number of the patch that stands at each place.
        grid: (rows, columns) of patches in the picture.
    """
    values = position_similarity(table, grid).reshape(len(table), len(table))
    corners = torch.stack([shown // grid[1], shown % grid[1]], dim=1).float()
    steps = torch.cdist(corners, corners, p=1)  # rows apart plus columns apart
    return [round(values[pairs].mean().item(), 3) for pairs in (steps == 1, steps > 1)]


def one_run(kind, seed, epochs=TrainConfig.epochs):
    """Train once; a dictionary of seed, test_accuracy, and cosines by two kinds of place."""
    dice = torch.Generator().manual_seed(seed)
    order, data = torch.arange(16), load("digits")
    torch.manual_seed(seed)
    model = VisionTransformer(preset("digits", position="learned"))
    if kind == "one wrong order":
        order = torch.randperm(16, generator=dice)
    if kind == "labels by lot":
        labels = data.train.labels
        lot = labels[torch.randperm(len(labels), generator=dice)]
        data = data._replace(train=data.train._replace(labels=lot))
    shown = Reordered(model, None if kind == "a new order each time" else order)
    history = train(shown, data, TrainConfig(epochs=epochs, seed=seed), progress=False)
    table = model.embeddings.position[0, 1:].detach()
    return {
        "seed": seed,
        "test_accuracy": round(history[-1]["test_accuracy"], 3),
        "by picture": touching_and_others(table, order),
        "by number": touching_and_others(table, torch.arange(16)),
    }


def main():
    """All runs, and the record."""
    started, source = time.perf_counter(), commit()
    found = {kind: [] for kind in KINDS}
    for kind in KINDS:
        for seed in SEEDS:
            found[kind].append(one_run(kind, seed))
            print(kind, found[kind][-1], flush=True)
    found["about"] = {
        "seconds": round(time.perf_counter() - started),
        "device": device_name(torch.device("cpu")),
        "versions": {"torch": torch.__version__},
        "commit": source,
    }
    text = json.dumps(found, indent=1) + "\n"
    write_whole(RECORD, lambda path: path.write_text(text))


if __name__ == "__main__":
    main()
