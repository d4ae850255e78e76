"""Chapter 5: augmentation, on whole batches, on whatever device they are."""

import torch
import torch.nn.functional as F


def normalize(images, mean=0.5, std=0.5):
    """uint8 in 0…255 to floats around zero: -1…1 with the default, as in the ViT paper.

    Raises:
        ValueError: the images are floats: they may have been through this already.
    """
    if images.is_floating_point():
        raise ValueError(
            f"expected whole numbers of 0…255, got {images.dtype}: scaled already?"
        )
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


def random_erase(images, probability, area=(0.02, 0.33), ratio=0.3):
    """Blank a rectangle of some images (random erasing, Zhong et al. 2020).

    Args:
        images: (batch, channel, height, width), normalised: 0 is grey.
        probability: share of the images that lose a rectangle.
        area: smallest and largest share of the image.
        ratio: smallest height over width; the largest is its inverse.
    """
    b, _, h, w = images.shape
    dice = torch.rand(5, b, 1, 1, device=images.device)
    share = area[0] + (area[1] - area[0]) * dice[0]
    slant = ratio ** (2 * dice[1] - 1)  # even on a logarithmic scale
    height, width = h * (share * slant).sqrt(), w * (share / slant).sqrt()
    top, left = (h - height).clamp(min=0) * dice[2], (w - width).clamp(min=0) * dice[3]
    row = torch.arange(h, device=images.device)[:, None] + 0.5
    column = torch.arange(w, device=images.device) + 0.5
    inside = (row > top) & (row < top + height) & (column > left) & (column < left + width)
    erased = inside & (dice[4] < probability)
    return images.masked_fill(erased[:, None], 0.0)


def mixup(images, alpha):
    """Blend every image with another one (Zhang et al. 2018).

    Returns:
        images, the partner of each, and the share ``lam`` of the first: a number
        drawn from Beta(alpha, alpha), one for the whole batch.
    """
    lam = torch.distributions.Beta(alpha, alpha).sample().item()
    partner = torch.randperm(len(images), device=images.device)
    return lam * images + (1 - lam) * images[partner], partner, lam


def cutmix(images, alpha):
    """Paste a rectangle of another image into every image (Yun et al. 2019).

    Returns:
        images, the partner of each, and the share of the pixels that stayed. The
        rectangle is cut off at the border, so the share is counted, not drawn.
    """
    h, w = images.shape[-2:]
    lam = torch.distributions.Beta(alpha, alpha).sample().item()
    partner = torch.randperm(len(images), device=images.device)
    row, column = (int(torch.randint(side, ()).item()) for side in (h, w))
    up, across = (round(side * (1 - lam) ** 0.5 / 2) for side in (h, w))
    top, bottom = max(0, row - up), min(h, row + up)
    left, right = max(0, column - across), min(w, column + across)
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = images[partner][..., top:bottom, left:right]
    return mixed, partner, 1 - (bottom - top) * (right - left) / (h * w)
