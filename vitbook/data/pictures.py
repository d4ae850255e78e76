"""Single pictures: reading a file, cutting it to size, scikit-image's photographs."""

import io
from pathlib import Path

import torch
import torch.nn.functional as F

PHOTOGRAPHS = ("chelsea", "coffee", "astronaut", "rocket")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")


def decode(content, where):
    """The bytes of an image file as (channel, height, width), uint8.

    Grey stays grey (one channel), of 16 bits the upper eight; anything else becomes
    RGB, grey that may be transparent too. What is transparent is laid over white. A
    photograph that its camera marked as turned is turned upright.

    Args:
        content: the bytes.
        where: the name to give in an error.

    Raises:
        ValueError: the bytes are no whole image.
    """
    import numpy as np
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(content)) as image:
            ImageOps.exif_transpose(image, in_place=True)
            if image.mode.startswith("I"):
                pixels = np.array(image).astype("int64").clip(0, 65535) // 256
            elif "A" in image.mode or "transparency" in image.info:
                image = image.convert("RGBA")
                white = Image.new("RGBA", image.size, "white")
                pixels = np.array(Image.alpha_composite(white, image).convert("RGB"))
            elif image.mode in ("L", "1"):
                pixels = np.array(image.convert("L"))
            else:
                pixels = np.array(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"cannot read {where} as an image: {error}; remove or replace it"
        ) from error
    pixels = torch.from_numpy(pixels).to(torch.uint8)
    return pixels.reshape(*pixels.shape[:2], -1).permute(2, 0, 1)


def square(image, size):
    """The central square of a picture, shrunk or grown to size × size (bicubic).

    Shapes: (…, height, width) → (…, size, size), uint8. A picture that has the size
    already is left as it is.
    """
    height, width = image.shape[-2:]
    if height == width == size:
        return image
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    cut = image[..., top : top + side, left : left + side].float()
    batch = cut.reshape(-1, 1, side, side)
    small = F.interpolate(batch, size=(size, size), mode="bicubic", antialias=True)
    return small.reshape(*image.shape[:-2], size, size).round().clamp(0, 255).to(torch.uint8)


def channels(image, count):
    """A picture with 1 or 3 channels as one with 3 or 1: grey repeated, or colour's luma."""
    if image.shape[-3] == count:
        return image
    if count == 3:
        return image.expand(*image.shape[:-3], 3, *image.shape[-2:])
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    return (image.float() * weights).sum(dim=-3, keepdim=True).round().to(torch.uint8)


def picture(path, size, count=3):
    """Your own picture as a model wants it: (count, size, size), uint8.

    Args:
        path: of an image file.
        size: side of the result in pixels; of the picture, the central square.
        count: of channels, 1 or 3.

    Raises:
        OSError: there is no such file.
        ValueError: the file is no image.
    """
    return channels(square(decode(Path(path).read_bytes(), path), size), count)


def photograph(name, size):
    """One of scikit-image's photographs: the central square, resized to size × size.

    Args:
        name: "chelsea" (a cat), "coffee", "astronaut" or "rocket".
        size: side of the result in pixels.

    Returns:
        (3, size, size), uint8.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    if name not in PHOTOGRAPHS:
        raise ValueError(f"no photograph is called {name!r}; known: {', '.join(PHOTOGRAPHS)}")
    from skimage import data  # heavy, and only needed here

    image = torch.from_numpy(getattr(data, name)().copy()).permute(2, 0, 1)
    return square(image, size)
