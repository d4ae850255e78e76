"""The data sets that need no network: real digits, and digits to be found on a canvas."""

import torch

from vitbook.data.sets import Dataset, Split


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
