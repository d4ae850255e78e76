"""Score every map on the shipped models: python scripts/faithfulness.py [--data CIFAR-10].

Writes vitbook/runs/faithfulness.json, from which chapter 6 draws its areas and cascades: areas
under deletion and insertion on 500 new canvases and on 500 photographs of CIFAR-10's test set,
each beside pointing at the middle, image by image; and how much of each map's order stays
when the model is randomised from the top down, in eight draws of random weights.
"""

import argparse
import json
import re
from pathlib import Path

import torch

from vitbook import data, faithfulness, load_pretrained, patchify
from vitbook.explain import every_map
from vitbook.training import predict

TARGET = Path(__file__).resolve().parent.parent / "vitbook/runs/faithfulness.json"
KINDS = [(mode, fill) for mode in ("deletion", "insertion") for fill in faithfulness.FILLS]


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


def digits_of(canvases, inside):
    """Which digit each canvas was made from: (image,), from 0. What lies in the box says it."""
    boxes = patchify(canvases, 4)[inside.bool()].reshape(len(canvases), -1)
    return boxes.unique(dim=0, return_inverse=True)[1]


def areas(model, images, targets, maps, groups):
    """{method: {"deletion, mean fill": [mean, low, high], …, "…, less middle": […]}}.

    "…, other ties" is how far the mean moves when equal patches go in another order.
    """
    found = {}
    for name, map_ in maps.items():
        found[name] = areas_of(model, images, targets, map_)
        print(name, {k: round(v.mean().item(), 3) for k, v in found[name].items()}, flush=True)
    rows = {}
    for name, row in found.items():
        less = {f"{k}, less middle": v - found["middle"][k] for k, v in row.items()}
        rows[name] = {k: scored(v, groups) for k, v in (row | less).items()}
        if any(len(map_.unique()) < len(map_) for map_ in maps[name]):
            again = areas_of(model, images, targets, maps[name], seed=100)
            moved = {k: (again[k] - v).mean().item() for k, v in row.items()}
            rows[name] |= {f"{k}, other ties": round(v, 4) for k, v in moved.items()}
    return rows


def areas_of(model, images, targets, maps, seed=0):
    """{"deletion, mean fill": (image,), …}; a hundred images at a time are fastest."""
    found = {}
    for mode, fill in KINDS:
        parts = [each.split(100) for each in (images, targets, maps)]
        curves = [
            faithfulness.curve(model, *part, model.config.patch_size, mode, fill, seed=seed + i)
            for i, part in enumerate(zip(*parts, strict=True))
        ]
        found[f"{mode}, {fill} fill"] = faithfulness.area(torch.cat(curves))
    return found


def scored(values, groups):
    """A mean with its interval, to four digits."""
    return [round(number, 4) for number in faithfulness.interval(values, groups)]


def cascade(model, images, targets, draws=8):
    """Rank correlation of every map with the first, the model randomised from the top down.

    Returns:
        {patches: {method: [[one number per draw], one list per stage]}}. The first stage is
        the model as it is; patches are all, or on black canvases those with ink too.
    """
    ink = patchify(images, model.config.patch_size).amax(dim=-1) > -1
    among = {"all": None, "ink": ink} if model.config.channels == 1 else {"all": None}
    before = every_map(model, images, targets)
    found = {which: {name: [] for name in before} for which in among}
    for parts in range(model.config.depth + 3):
        made = range(draws) if parts else [0]
        twins = [faithfulness.randomised(model, parts, seed) for seed in made]
        after = [every_map(twin, images, targets) for twin in twins]
        for which, patches in among.items():
            for name, first in before.items():
                same = [faithfulness.rank_correlation(first, a[name], patches) for a in after]
                found[which][name].append([round(each.mean().item(), 3) for each in same])
        print(f"{parts} parts random", flush=True)
    return found


def marked(model, images, groups=None, few=100):
    """Areas on all images, cascades on a few; targets are the model's own answers."""
    normalised, targets = data.normalize(images), predict(model, images).argmax(dim=1)
    maps = with_rivals(every_map(model, normalised, targets), normalised, model)
    return {
        "images": {"areas": len(images), "randomised": few},
        "methods": areas(model, normalised, targets, maps, groups),
        "randomised": cascade(model, normalised[:few], targets[:few]),
    }


def canvases():
    """The first 500 of the chapter's canvases, and which digit each was made from."""
    images, _, boxes = data.digits_canvas(data.load("digits").test, 1000, seed=3)
    inside = faithfulness.inside_boxes(boxes, (8, 8), 4)
    return images[:500], digits_of(images, inside)[:500]


def photographs(name):
    """500 pictures of the test set, each its own group."""
    images = data.load(name, 32).test.images
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return images[order[:500]], None


def main():
    """Mark both models; one of them, and the other's record stays."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="cifar10", help="CIFAR-10, by name or path")
    parser.add_argument("--only", choices=["digits-canvas", "cifar10"], help="one model alone")
    arguments = parser.parse_args()
    record = json.loads(TARGET.read_text())
    for name in (arguments.only,) if arguments.only else ("digits-canvas", "cifar10"):
        pictures = canvases() if name == "digits-canvas" else photographs(arguments.data)
        record[name] = marked(load_pretrained(name), *pictures)
        text = json.dumps(record, indent=1)
        rows = re.sub(r"\[[^\[\]{}]+\]", lambda row: " ".join(row[0].split()), text)
        TARGET.write_text(rows + "\n")


if __name__ == "__main__":
    main()
