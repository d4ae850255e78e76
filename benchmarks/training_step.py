"""Images per core-second of a training step, by precision and by way through attention.

    python benchmarks/training_step.py [--turns 3] [--threads 1]

Processor time of one step of the engine (varying the images and the optimizer included), the
ways taken in turns, the median of the turns. A way that takes three times as long as the first
is tried once. The last line of each model is what ``auto`` chooses here.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from vitbook import VisionTransformer, data, preset
from vitbook.training import EngineConfig
from vitbook.training.engine import Engine
from vitbook.training.runs import device_name

RECORD = Path(__file__).resolve().parent.parent / "vitbook/runs/training_step.json"
MODELS = {"mini-vit-small": 64, "cifar10": 256}  # and their batches
WAYS = [(p, a) for p in ("fp32", "bf16") for a in ("fused", "written")]


def engine(model, batch_size, **settings):
    """An engine on random pictures: what is on them costs nothing."""
    images = torch.randint(256, (2_000, 3, 32, 32)).to(torch.uint8)
    split = data.Split(images, torch.randint(10, (2_000,)))
    config = EngineConfig(epochs=100, batch_size=batch_size, crop=4, flip=True, **settings)
    pictures = data.Dataset("random", list("0123456789"), split, split)
    return Engine(VisionTransformer(preset(model)), pictures, config)


def rate(trained):
    """Images per second of processor time, in one step."""
    size = trained.config.batch_size
    index, started = torch.randint(2_000, (size,)), time.process_time()
    trained.step(index, 1, 1000)
    return size / (time.process_time() - started)


def main():
    """Print a table of rates, and what they are of the first row's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device, recorded = device_name(torch.device("cpu")), {}
    print(f"{device}, torch {torch.__version__}")
    for model, size in MODELS.items():
        engines = {w: engine(model, size, precision=w[0], attention=w[1]) for w in WAYS}
        rates = {way: [rate(engines[way])] for way in WAYS}  # the first step is slower
        for _ in range(arguments.turns):
            for way, found in rates.items():
                if 3 * found[0] > rates[WAYS[0]][0]:
                    found.append(rate(engines[way]))
        base = statistics.median(rates[WAYS[0]][1:])
        print(f"\n{model}, batch {size}: images per core-second")
        recorded[model] = {"batch": size}
        for way, found in rates.items():
            middle = statistics.median(found[1:] or found)
            recorded[model][", ".join(way)] = round(middle, 1)
            print(f"  {', '.join(way):<16} {middle:7.1f}   {middle / base:.2f}")
        open_ = engine(model, size)
        open_.begin()
        recorded[model]["auto"] = ", ".join(open_.choice[:2])
        print(f"  auto chooses {recorded[model]['auto']}")
    if arguments.record:
        known = json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else {}
        text = json.dumps(known | {device: recorded}, indent=1, sort_keys=True)
        RECORD.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
