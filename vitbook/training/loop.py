"""Chapter 5: a loop that trains, and can be stopped at any epoch and go on."""

import math
import os
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm

from vitbook.data.augment import normalize, random_crop, random_flip
from vitbook.training.checks import check_settings

# How the progress bar looks, and that it redraws once a second: outputs stay short.
BAR = {
    "bar_format": "{percentage:3.0f}% |{bar:20}| {elapsed}<{remaining} {postfix}",
    "mininterval": 1,
}


@dataclass(frozen=True)
class TrainConfig:
    """Everything that fixes a training run, beside the model and the data.

    The defaults are chapter 5's recipe for scikit-learn's digits.

    Args:
        epochs: passes over the training images.
        batch_size: images per step.
        learning_rate: its peak.
        warmup: share of all steps during which the learning rate rises.
        weight_decay: AdamW's decoupled decay, on matrices only.
        label_smoothing: share of the target spread over all classes.
        clip: largest norm of the gradient; a longer one is scaled down.
        crop: pixels of padding for random crops; 0 for none.
        flip: whether images are mirrored at random.
        seed: fixes the order of the images, the augmentation and dropout.

    Raises:
        ValueError: a setting of another kind, or out of its range.
    """

    epochs: int = 60
    batch_size: int = 64
    learning_rate: float = 4e-3
    warmup: float = 0.1
    weight_decay: float = 0.3
    label_smoothing: float = 0.1
    clip: float = 1.0
    crop: int = 1
    flip: bool = False
    seed: int = 0

    def __post_init__(self):
        check_settings(self)


def parameter_groups(model, weight_decay):
    """Decay matrices; leave biases, norms, the class token and positions alone.

    Returns:
        Two groups for a torch optimizer.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.ndim == 2]
    others = [p for p in trained if p.ndim != 2]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def learning_rate(step, steps, peak, warmup):
    """Rise in a line over the first ``warmup`` share of the steps, then fall as a cosine."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        return peak * (step + 1) / rising
    done = (step - rising) / max(1, steps - rising)
    return peak * (1 + math.cos(math.pi * done)) / 2


def augment(images, config):
    """A new variant of every image: uint8 in, uint8 out, same shape."""
    if config.crop:
        images = random_crop(images, config.crop)
    return random_flip(images) if config.flip else images


@torch.no_grad()
def predict(model, images, batch_size=500):
    """Logits of uint8 images, in evaluation mode: (image, classes).

    They are brought to -1…1, as for every model trained here. One that was trained with
    other means and deviations is called on ``normalize(images, mean, std)`` instead.
    """
    was_training = model.training
    model.eval()
    logits = [model(normalize(batch)) for batch in images.split(batch_size)]
    model.train(was_training)
    return torch.cat(logits)


def accuracy(model, split):
    """Share of a split's images, fed by :func:`predict`, whose largest logit is right."""
    hits = predict(model, split.images).argmax(dim=1) == split.labels
    return hits.float().mean().item()


def train_epoch(model, optimizer, split, config, epoch, bar):
    """One pass over the images in random order; returns the mean loss."""
    model.train()
    order = torch.randperm(len(split.labels), device=split.labels.device)
    batches, total = order.split(config.batch_size), 0.0
    for i, index in enumerate(batches):
        step, steps = epoch * len(batches) + i, config.epochs * len(batches)
        rate = learning_rate(step, steps, config.learning_rate, config.warmup)
        images = augment(split.images[index], config)
        loss = train_step(model, optimizer, images, split.labels[index], config, rate)
        total += loss * len(index)
        bar.update(1 / len(batches))
    return total / len(order)


def train_step(model, optimizer, images, labels, config, rate):
    """Forward, backward, clip, step; returns the loss."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    logits = model(normalize(images))
    loss = F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
    optimizer.step()
    return loss.item()


def train(model, data, config, checkpoint=None, stop_after=None, progress=True):
    """Train, and write a checkpoint after every epoch when given a path for it.

    Args:
        model: any module from images to logits, on the device of the data.
        data: a :class:`vitbook.data.Dataset`.
        config: a :class:`TrainConfig`.
        checkpoint: a path. If the file exists, training goes on from it; on a CPU to
            the same weights, as only the CPU's dice are kept.
        stop_after: stop before the end, once this many epochs are done.
        progress: whether to draw a progress bar.

    Returns:
        One dictionary per epoch: epoch, loss, test_accuracy. The test set selects
        nothing here: it is looked at, and the last row is the result.
    """
    optimizer = torch.optim.AdamW(parameter_groups(model, config.weight_decay), fused=True)
    torch.manual_seed(config.seed)
    history = load_checkpoint(checkpoint, model, optimizer) if checkpoint else []
    last = config.epochs if stop_after is None else min(stop_after, config.epochs)
    bar = tqdm(total=last - len(history), disable=not progress, **BAR)
    for epoch in range(len(history), last):
        loss = train_epoch(model, optimizer, data.train, config, epoch, bar)
        hits = accuracy(model, data.test)
        bar.set_postfix_str(f"loss {loss:.3f}, test {hits:.1%}", refresh=False)
        history.append({"epoch": epoch + 1, "loss": loss, "test_accuracy": hits})
        if checkpoint:
            save_checkpoint(checkpoint, model, optimizer, history)
    bar.close()
    return history


def save_checkpoint(path, model, optimizer, history):
    """Write all that training needs to go on, in one move: never half a file."""
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "history": history,
        "random": torch.get_rng_state(),
    }
    unfinished = f"{path}.unfinished"
    torch.save(state, unfinished)
    os.replace(unfinished, path)


def load_checkpoint(path, model, optimizer):
    """Put a checkpoint back into model, optimizer and dice; returns the history.

    A path that does not exist yet is a fresh start: an empty history.

    A checkpoint that was written on a GPU is read on a CPU as well.

    Raises:
        ValueError: the file is not a whole checkpoint, or of another model.
    """
    if not Path(path).exists():
        return []
    content = BytesIO(Path(path).read_bytes())
    try:  # weights_only: data alone, a pickle's code never runs
        state = torch.load(content, map_location="cpu", weights_only=True)
        dice, history = state["random"], state["history"]
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(dice)
    except Exception as error:  # it could be read; what it holds is no use
        message = f"{path} is not a checkpoint of this model; remove it to start afresh"
        raise ValueError(f"{message}: {error!r}") from error
    return history
