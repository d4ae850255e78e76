"""What chapter 5 says of the digits, from several draws: python scripts/digits.py.

vitbook/runs/digits_choices.jsonl: the recipe, and one change of it at a time, each marked on
digits held out of the training set. The test set has no part in it.

vitbook/runs/digits_few.jsonl: the ViT, a small CNN and logistic regression, trained on as many
digits as the chapter has and on a quarter of them. Each draw divides all 1,797 digits anew, and
has its own quarter, weights and order.

vitbook/runs/digits_wrong.jsonl: settings that the laboratory warns of, marked as the choices.

Every finished run is one line. Stop it at any time: what is recorded is not run again.
"""

import json
import time
from pathlib import Path

import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from vitbook import VisionTransformer, preset
from vitbook.data import Split, first, hold_out, load, normalize
from vitbook.training import TrainConfig, accuracy, train
from vitbook.training.runs import commit, device_name

RUNS = Path(__file__).resolve().parent.parent / "vitbook/runs"
CHOICES, FEW = RUNS / "digits_choices.jsonl", RUNS / "digits_few.jsonl"
WRONG = RUNS / "digits_wrong.jsonl"
DRAWS = range(5)
HELD_OUT = 287  # a fifth of the 1,437 training digits
CHANGES = {
    "as it is": {},
    "learning rate 0.002": {"learning_rate": 2e-3},
    "learning rate 0.008": {"learning_rate": 8e-3},
    "no weight decay": {"weight_decay": 0.0},
    "weight decay 1": {"weight_decay": 1.0},
    "no warm-up": {"warmup": 0.0},
    "no shifts": {"crop": 0},
    "positions learned": {"position": "learned"},
}
WARNED = {"learning rate 0.04": {"learning_rate": 0.04}, "no positions": {"position": "none"}}
QUARTER, PATIENT, MIXED = "a quarter", "240 epochs", "pixels in a wrong order"
ROWS = [
    *(f"{model}, {how}" for how in ("all", QUARTER)
      for model in ("ViT", "CNN", "logistic regression")),
    f"ViT, {QUARTER}, {PATIENT}",
    f"CNN, {QUARTER}, {MIXED}",
]  # fmt: skip


def small_cnn(channels, classes):
    """The chapter's convolutional network."""
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(256, classes),
    )  # fmt: skip


class WrongOrder(nn.Module):
    """A model that is shown all pixels in one wrong order, the same for every picture.

    It comes after the shifts, so these still move whole strokes.
    """

    def __init__(self, model, order):
        super().__init__()
        self.model, self.order = model, order

    def forward(self, images):
        return self.model(images.flatten(2)[..., self.order].reshape(images.shape))


def choice(row, draw):
    """Train with one change; returns accuracies on held-out and on training digits."""
    changes = dict((CHANGES | WARNED)[row])
    position = changes.pop("position", "sincos")
    data = hold_out(load("digits"), HELD_OUT, seed=draw)
    torch.manual_seed(draw)
    model = VisionTransformer(preset("digits", position=position))
    train(model, data, TrainConfig(seed=draw, **changes), progress=False)
    return {
        "held_out_accuracy": round(accuracy(model, data.test), 4),
        "training_accuracy": round(accuracy(model, data.train), 4),
    }


def divided(draw):
    """All digits, divided anew into as many for training and held out as in the chapter."""
    data = load("digits")
    images, labels = (torch.cat(parts) for parts in zip(data.train, data.test, strict=True))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(draw))
    parts = order.tensor_split([len(data.train.labels)])
    splits = [Split(images[part], labels[part]) for part in parts]
    return data._replace(train=splits[0], test=splits[1])


def compared(row, draw):
    """Train one row of the comparison; returns its accuracy on the held-out digits."""
    data = divided(draw)
    if QUARTER in row:
        data = first(data, len(data.train.labels) // 4)  # they lie in random order
    if row.startswith("logistic regression"):
        train_pixels, pixels = (
            normalize(part.images).flatten(1) for part in (data.train, data.test)
        )
        fitted = LogisticRegression(max_iter=2000).fit(train_pixels, data.train.labels)
        return {"held_out_accuracy": round(fitted.score(pixels, data.test.labels), 4)}
    torch.manual_seed(draw)
    model = small_cnn(1, 10) if row.startswith("CNN") else VisionTransformer(preset("digits"))
    if MIXED in row:
        dice = torch.Generator().manual_seed(draw)
        model = WrongOrder(model, torch.randperm(64, generator=dice))
    config = TrainConfig(seed=draw, epochs=240 if PATIENT in row else TrainConfig.epochs)
    history = train(model, data, config, progress=False)
    return {"held_out_accuracy": round(history[-1]["test_accuracy"], 4)}


def recorded(path):
    """All recorded runs of a file, one dictionary each."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main():
    """Run what is missing, one draw after the other."""
    source, device = commit(), device_name(torch.device("cpu"))
    kinds = ((CHOICES, CHANGES, choice), (WRONG, WARNED, choice), (FEW, ROWS, compared))
    for path, rows, run in kinds:
        done = {(line["row"], line["draw"]) for line in recorded(path)}
        for draw in DRAWS:
            for row in rows:
                if (row, draw) in done:
                    continue
                started = time.perf_counter()
                line = {"row": row, "draw": draw, **run(row, draw)}
                line["seconds"] = round(time.perf_counter() - started, 1)
                about = {"device": device, "torch": torch.__version__, "commit": source}
                with open(path, "a") as file:
                    file.write(json.dumps(line | about) + "\n")
                print(line, flush=True)


if __name__ == "__main__":
    main()
