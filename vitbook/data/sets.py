"""What a data set is here: whole numbers in one tensor per split."""

from typing import NamedTuple

import torch
from torch import Tensor

CUT_OFF = "held out of the training set"


class Split(NamedTuple):
    """Pictures with their labels."""

    images: Tensor  # (image, channel, height, width), uint8
    labels: Tensor  # (image,), int64


class Dataset(NamedTuple):
    """Two splits and the names of the classes."""

    name: str
    classes: list
    train: Split
    test: Split
    notes: tuple = ()  # what was left out or decided while reading, one text each
    held_out_is: str = "the test set"


def first(dataset, count):
    """The data set with only the first ``count`` training images of it.

    Pictures from class folders lie class by class, so those are shuffled before, always
    in the same way.

    Raises:
        ValueError: a count below 1.
    """
    if count < 1:
        raise ValueError(f"images={count}: training needs at least one image")
    images, labels = dataset.train
    if (labels.diff() >= 0).all():
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
        images, labels = images[order[:count]], labels[order[:count]]
    return dataset._replace(train=Split(images[:count], labels[:count]))


def hold_out(dataset, count, seed=5000):
    """Hold ``count`` training images out, in the place of the test set.

    For tuning: whatever is chosen by looking at them, the test set stays unseen. The
    same ``seed`` always holds out the same images.

    Raises:
        ValueError: none would be held out, or none left.
    """
    if not 0 < count < len(dataset.train.labels):
        raise ValueError(
            f"hold_out={count}: choose from 1 to {len(dataset.train.labels) - 1}, one less "
            "than there are training images"
        )
    order = torch.randperm(
        len(dataset.train.labels), generator=torch.Generator().manual_seed(seed)
    )
    held, kept = order[:count], order[count:]
    images, labels = dataset.train
    return dataset._replace(
        train=Split(images[kept], labels[kept]),
        test=Split(images[held], labels[held]),
        held_out_is=CUT_OFF,
    )


def to_device(dataset, device):
    """The data set with both splits on a device; one copy, once."""
    train, test = (
        Split(*(part.to(device) for part in split)) for split in (dataset.train, dataset.test)
    )
    return dataset._replace(train=train, test=test)
