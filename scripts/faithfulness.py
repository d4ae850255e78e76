"""Score every map on the shipped models: python scripts/faithfulness.py [--data CIFAR-10].

Writes vitbook/runs/faithfulness.json, from which the book's ranking is drawn: pointing game
and energy on 1,000 new canvases, areas under deletion and insertion on 500 of them and on
500 photographs of CIFAR-10's test set, and how much maps change when the model is randomised.
"""

import argparse
import json
from pathlib import Path

import torch

from vitbook import data, faithfulness, load_pretrained, patchify
from vitbook.explain import every_map
from vitbook.training import predict

TARGET = Path(__file__).resolve().parent.parent / "vitbook/runs/faithfulness.json"


def with_rivals(maps, images, model):
    """The methods' maps, and those of rivals that know nothing of the model."""
    count, patches = next(iter(maps.values())).shape
    dice = torch.Generator().manual_seed(0)
    hill = faithfulness.centre_prior(model.config.grid)
    rivals = {
        "random": torch.rand(count, patches, generator=dice),
        "middle": hill.expand(count, -1),
    }
    if model.config.channels == 1:  # on black canvases, brightness is a rival
        pixels = patchify(images, model.config.patch_size)
        rivals["ink"] = (pixels - pixels.min()).mean(dim=-1)
    return {**rivals, **maps}


def scored(values):
    """A mean with its interval, to four digits."""
    return [round(number, 4) for number in faithfulness.interval(values)]


def areas(model, images, targets, maps, steps=8):
    """Areas under deletion and insertion, with both fills: {"deletion mean": [...], …}."""
    p = model.config.patch_size
    found = {}
    for mode in ("deletion", "insertion"):
        for fill in faithfulness.FILLS:
            curves = faithfulness.curve(model, images, targets, maps, p, mode, fill, steps)
            found[f"{mode}, {fill} fill"] = scored(faithfulness.area(curves))
    return found


def cascade(model, images, targets):
    """Rank correlation of every map with itself, the model randomised from the top down."""
    before = every_map(model, images, targets)
    found = {name: [] for name in before}
    for parts in range(1, model.config.depth + 3):
        after = every_map(faithfulness.randomised(model, parts), images, targets)
        for name in before:
            same = faithfulness.rank_correlation(before[name], after[name])
            found[name].append(round(same.mean().item(), 3))
    return found


def marked(model, images, inside=None, many=500, few=100):
    """All scores of one model on some images; targets are the model's own answers.

    Areas are measured on the first ``many`` images, the randomised models on ``few``.
    """
    normalised = data.normalize(images)
    targets = predict(model, images).argmax(dim=1)
    maps = with_rivals(every_map(model, normalised, targets), normalised, model)
    rows = {}
    for name, found in maps.items():
        rows[name] = areas(model, normalised[:many], targets[:many], found[:many])
        if inside is not None:
            rows[name]["hit"] = scored(faithfulness.pointing(found, inside))
            rows[name]["share"] = scored(faithfulness.energy(found, inside))
        print(name, rows[name], flush=True)
    return {
        "images": {"scores": len(images), "areas": min(many, len(images)), "randomised": few},
        "methods": rows,
        "randomised": cascade(model, normalised[:few], targets[:few]),
    }


def main():
    """Mark both models."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="cifar10", help="CIFAR-10, by name or path")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    canvases, _, boxes = data.digits_canvas(data.load("digits").test, 1000, seed=3)
    inside = faithfulness.inside_boxes(boxes, (8, 8), 4)
    record = {"digits-canvas": marked(load_pretrained("digits-canvas"), canvases, inside)}
    photographs = data.load(arguments.data, 32).test.images
    order = torch.randperm(len(photographs), generator=torch.Generator().manual_seed(0))
    chosen = photographs[order[:500]]
    record["cifar10"] = marked(load_pretrained("cifar10"), chosen)
    TARGET.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
