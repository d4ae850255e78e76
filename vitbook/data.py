"""Chapter 5: data sets as uint8 tensors, and augmentation on whole batches."""

import os
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

PHOTOGRAPHS = ("chelsea", "coffee", "astronaut", "rocket")


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


def load(name):
    """Load a data set by name, or from a folder of class folders.

    Args:
        name: "digits" and "digits-canvas" need no network. "mnist",
            "fashion-mnist", "cifar10" and "cifar100" are read from
            ``$VITBOOK_DATA/<name>`` (default ``~/.cache/vitbook``), as class folders
            or as torchvision's files, else downloaded there by torchvision. A path
            is read as ``train/<class>/*`` and ``test/<class>/*`` (or ``val``).

    Returns:
        A :class:`Dataset`.

    Raises:
        ValueError: an unknown name, or a folder without two classes of images.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]()
    folder = data_root() / name if name in TORCHVISION else Path(name).expanduser()
    if (folder / "train").is_dir():
        return from_folders(folder, str(name))
    if name in TORCHVISION:
        return from_torchvision(name, folder)
    known = [*BUILT_IN, *TORCHVISION]
    raise ValueError(
        f"{str(name)!r} is neither a known data set ({', '.join(known)}) nor a folder that "
        "holds train/<class>/*.png; check the spelling or the path"
    )


def normalize(images, mean=0.5, std=0.5):
    """uint8 in 0…255 to floats around zero: -1…1 with the default, as in the ViT paper."""
    return (images.float() / 255 - mean) / std


def random_crop(images, padding):
    """Pad every image with black and cut it out again at a place of its own.

    Shapes: (batch, channel, height, width) → the same. Each image moves by up to
    ``padding`` pixels in each direction.
    """
    b, _, h, w = images.shape
    padded = F.pad(images, [padding] * 4).permute(0, 2, 3, 1)
    top, left = torch.randint(2 * padding + 1, (2, b, 1, 1), device=images.device)
    rows = top + torch.arange(h, device=images.device)[:, None]
    columns = left + torch.arange(w, device=images.device)
    image = torch.arange(b, device=images.device)[:, None, None]
    return padded[image, rows, columns].permute(0, 3, 1, 2)


def random_flip(images):
    """Mirror every image, left to right, with probability one half."""
    mirrored = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    return torch.where(mirrored, images.flip(-1), images)


def load_digits():
    """scikit-learn's 1,797 handwritten digits, 8×8, grey: 1,437 to train, 360 held out."""
    from sklearn import datasets  # heavy, and only needed here

    digits = datasets.load_digits()
    images = torch.from_numpy(digits.images)[:, None] * 255 / 16
    images, labels = images.round().to(torch.uint8), torch.from_numpy(digits.target).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    train, test = order[:1437], order[1437:]
    classes = [str(digit) for digit in range(10)]
    return Dataset(
        "digits",
        classes,
        Split(images[train], labels[train]),
        Split(images[test], labels[test]),
    )


def load_digits_canvas(train=200_000, test=2_000):
    """Digits among fragments of digits, with the place of the digit known to us alone.

    The held-out canvases hold held-out digits only. Boxes: :func:`digits_canvas`.
    """
    digits = load_digits()
    splits = [
        Split(*digits_canvas(split, count, seed)[:2])
        for split, count, seed in ((digits.train, train, 1), (digits.test, test, 2))
    ]
    return Dataset("digits-canvas", digits.classes, *splits)


def digits_canvas(digits, count, seed, fragments=8):
    """Place a doubled digit on a 32×32 canvas among pieces of other digits.

    Args:
        digits: a :class:`Split` of 8×8 digits to draw from.
        count: number of canvases.
        seed: fixes every choice.
        fragments: pieces of 8×8 pixels (a quarter of a doubled digit) per canvas.

    Returns:
        images (count, 1, 32, 32) uint8, labels (count,) and boxes (count, 4): top,
        left, bottom, right of the 16×16 digit, in pixels, multiples of 4 so that the
        digit covers whole patches.
    """
    dice = torch.Generator().manual_seed(seed)
    doubled = digits.images[:, 0].repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    canvas = torch.zeros(count, 32, 32, dtype=torch.uint8)
    image = torch.arange(count)[:, None, None]
    for _ in range(fragments):
        source = torch.randint(len(doubled), (count, 1, 1), generator=dice)
        corner = 8 * torch.randint(2, (2, count, 1, 1), generator=dice)
        place = 4 * torch.randint(7, (2, count, 1, 1), generator=dice)
        steps = torch.arange(8)
        piece = doubled[source, corner[0] + steps[:, None], corner[1] + steps]
        canvas[image, place[0] + steps[:, None], place[1] + steps] = piece
    chosen = torch.randint(len(doubled), (count,), generator=dice)
    place = 4 * torch.randint(5, (2, count, 1, 1), generator=dice)
    steps = torch.arange(16)
    canvas[image, place[0] + steps[:, None], place[1] + steps] = doubled[chosen]
    top, left = place[:, :, 0, 0]
    boxes = torch.stack([top, left, top + 16, left + 16], dim=1)
    return canvas[:, None], digits.labels[chosen], boxes


def photograph(name, size):
    """One of scikit-image's photographs: the central square, shrunk to size × size.

    Args:
        name: "chelsea" (a cat), "coffee", "astronaut" or "rocket".
        size: side of the result in pixels.

    Returns:
        (3, size, size), uint8.
    """
    if name not in PHOTOGRAPHS:
        raise ValueError(f"no photograph is called {name!r}; known: {', '.join(PHOTOGRAPHS)}")
    from skimage import data  # heavy, and only needed here

    image = torch.from_numpy(getattr(data, name)().copy()).permute(2, 0, 1)
    height, width = image.shape[1:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[:, top : top + side, left : left + side]
    small = F.interpolate(
        square[None].float(), size=(size, size), mode="bicubic", antialias=True
    )
    return small[0].round().clamp(0, 255).to(torch.uint8)


def data_root():
    """Where data sets lie: ``$VITBOOK_DATA``, or ``~/.cache/vitbook``."""
    return Path(os.environ.get("VITBOOK_DATA", "~/.cache/vitbook")).expanduser()


def from_folders(folder, name):
    """Read ``train/<class>/*`` and ``test/<class>/*`` (or ``val``), all of one size."""
    held_out = folder / "test" if (folder / "test").is_dir() else folder / "val"
    classes = sorted(path.name for path in (folder / "train").iterdir() if path.is_dir())
    if len(classes) < 2:
        raise ValueError(
            f"{folder / 'train'} holds {len(classes)} class folders; expected one folder of "
            "images per class, and at least two classes"
        )
    splits = [read_split(part, classes) for part in (folder / "train", held_out)]
    return Dataset(name, classes, *splits)


def read_split(folder, classes):
    """Read one folder of class folders into a :class:`Split`."""
    images, labels = [], []
    for label, kind in enumerate(classes):
        files = sorted(p for p in (folder / kind).glob("*") if p.suffix.lower() in SUFFIXES)
        if not files:
            raise ValueError(f"no images ({', '.join(SUFFIXES)}) in {folder / kind}")
        images += [read_image(path) for path in files]
        labels += [label] * len(files)
        if images[-1].shape != images[0].shape:
            raise ValueError(
                f"images differ in shape: {tuple(images[0].shape)} and "
                f"{tuple(images[-1].shape)} in {folder / kind}; resize them to one size"
            )
    return Split(torch.stack(images), torch.tensor(labels))


def read_image(path):
    """One file as (channel, height, width), uint8: grey stays grey, all else is RGB."""
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            pixels = np.array(image if image.mode == "L" else image.convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(
            f"cannot read {path} as an image: {error}; remove or replace it"
        ) from error
    return torch.from_numpy(pixels).reshape(*pixels.shape[:2], -1).permute(2, 0, 1)


def from_torchvision(name, folder):
    """Read torchvision's files in the folder, downloading them when they are not there."""
    from vitbook.compat import load_torchvision

    source = getattr(load_torchvision("datasets"), TORCHVISION[name])
    splits = []
    for train in (True, False):
        try:
            part = source(str(folder), train=train, download=True)
        except (RuntimeError, OSError) as error:
            raise RuntimeError(
                f"{name} is not in {folder} and could not be downloaded ({error}); "
                "put it there by hand, as train/<class>/*.png and test/<class>/*.png"
            ) from error
        pixels = torch.as_tensor(part.data)
        images = pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
        splits.append(Split(images.contiguous(), torch.as_tensor(part.targets)))
    return Dataset(name, list(part.classes), *splits)


SUFFIXES = (".png", ".jpg", ".jpeg")
BUILT_IN = {"digits": load_digits, "digits-canvas": load_digits_canvas}
TORCHVISION = {
    "mnist": "MNIST",
    "fashion-mnist": "FashionMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
}
