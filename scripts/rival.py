"""Train the rival, ResNet-20, for what TinyViT's ten epochs cost: python scripts/rival.py.

Data, crops, flips, label smoothing, batches and schedule are those of the recipe
``cifar10-beside-tinyvit``, the optimizer is AdamW: nothing was tuned for the CNN. The run is
written to vitbook/runs/rival.json.
"""

import argparse
import json
import platform
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from vitbook.compat import load_torchvision
from vitbook.data import to_device
from vitbook.training import parallel, read_recipe, runs
from vitbook.training.engine import Engine, write_whole
from vitbook.training.recipes import read_data

RECORD = Path(__file__).resolve().parent.parent / "vitbook/runs/rival.json"
BUDGET = "cifar10-beside-tinyvit"
EPOCHS = 7  # by the time of one step; accuracy had no say


def resnet20(classes=10, widths=(16, 32, 64), depth=3):
    """ResNet-20 for 32 × 32 pictures (He et al. 2016, section 4.2).

    Where a stage halves the picture and doubles the channels, a 1 × 1 convolution takes the
    shortcut along (their option B).

    Args:
        classes: length of the logits.
        widths: channels of each stage.
        depth: residual blocks in each stage, of two 3 × 3 convolutions each.
    """
    block = load_torchvision("models.resnet").BasicBlock
    layers = [*convolution(3, widths[0], 3), nn.ReLU()]
    before = widths[0]
    for width in widths:
        for _ in range(depth):
            halves = width != before
            short = nn.Sequential(*convolution(before, width, 1, 2)) if halves else None
            layers.append(block(before, width, 1 + halves, short))
            before = width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes)
    )


def convolution(before, after, size, stride=1):
    """A convolution that keeps the picture's size, or halves it, and its batch norm."""
    conv = nn.Conv2d(before, after, size, stride, padding=size // 2, bias=False)
    return conv, nn.BatchNorm2d(after)


def recipe():
    """The recipe of the budget, without what only a transformer has."""
    found = read_recipe(BUDGET)
    plain = replace(found.train, optimizer="adamw", whiten=False, keep=1.0, epochs=EPOCHS)
    return found._replace(train=plain)


def main():
    """Train, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="CIFAR-10, where it is not under $VITBOOK_DATA")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    ours, started = recipe(), runs.commit()
    ours = ours._replace(data=arguments.data or ours.data)
    data = to_device(read_data(ours), parallel.start(arguments.device))
    torch.manual_seed(ours.train.seed)
    engine = Engine(resnet20().to(data.train.images.device), data, ours.train)
    history = engine.run()
    done = {
        "test_accuracy_last_epoch": history[-1]["test_accuracy"],
        "history": [{k: runs.rounded(v) for k, v in row.items()} for row in history],
        "parameters": sum(p.numel() for p in engine.model.parameters()),
        "flops_per_image": runs.flops(engine.model, data.test.images[:1]),
        "epochs": len(history),
        "seconds": round(engine.seconds),
        "whole_process_seconds": round(time.process_time()),  # reading included, all threads
        "device": runs.device_name(engine.device),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "commit": started,
    }
    text = json.dumps(done, indent=1) + "\n"
    write_whole(RECORD, lambda path: path.write_text(text))
    print(text)


if __name__ == "__main__":
    main()
