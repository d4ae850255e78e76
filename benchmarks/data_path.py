"""Is the data path the bottleneck? Steps per second with real batches, against one fixed batch.

    python benchmarks/data_path.py [--steps 3] [--turns 7] [--device cpu]

Every turn times both ways, one after the other; the ratio of a turn is not disturbed by
what else the machine does for longer than a turn. Printed is the median of the ratios.
"""

import argparse
import statistics
import time

import torch

from vitbook import VisionTransformer, data, preset
from vitbook.training import EngineConfig
from vitbook.training.engine import Engine

SETTINGS = {
    "crop and flip": {},
    "and mixup, CutMix, erasing": {"mixup": 0.8, "cutmix": 1.0, "erase": 0.25},
    "and RandAugment(2, 9)": {
        "mixup": 0.8, "cutmix": 1.0, "erase": 0.25, "rand_augment": (2, 9),
    },
}  # fmt: skip


class OneBatch(Engine):
    """An engine that is fed the same batch for ever: no data path at all."""

    def batch(self, index, strong):
        if not hasattr(self, "fixed"):
            self.fixed = super().batch(index, strong)
        return self.fixed


def engine(kind, device, model, **settings):
    """An engine on random pictures of CIFAR-10's size: their content costs nothing."""
    images = torch.randint(256, (10_000, 3, 32, 32)).to(torch.uint8)
    split = data.Split(images, torch.randint(10, (10_000,)))
    config = EngineConfig(
        **{"epochs": 1000, "batch_size": 256, "crop": 4, "flip": True, **settings}
    )
    pictures = data.to_device(data.Dataset("random", list("0123456789"), split, split), device)
    torch.manual_seed(0)
    return kind(VisionTransformer(preset(model)).to(device), pictures, config)


def seconds(trained, steps):
    """How long so many steps on random batches take."""
    started = time.perf_counter()
    for _ in range(steps):
        trained.step(
            torch.randint(10_000, (trained.config.batch_size,), device=trained.device), 0, 1000
        )
    if trained.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def ratio(settings, model, steps, turns, device):
    """Step rate with the data path over the step rate with one fixed batch: the median."""
    fed, fixed = (engine(kind, device, model, **settings) for kind in (Engine, OneBatch))
    seconds(fed, 1), seconds(fixed, 1)  # the first step of each is slower
    return statistics.median(seconds(fixed, steps) / seconds(fed, steps) for _ in range(turns))


def main():
    """Print one ratio per setting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--model", default="cifar10", help="a preset")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    for name, settings in SETTINGS.items():
        found = ratio(settings, arguments.model, arguments.steps, arguments.turns, device)
        print(f"{name:<30} {found:.1%} of the step rate with one fixed batch")


if __name__ == "__main__":
    main()
