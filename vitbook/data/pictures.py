"""Single pictures: reading a file, cutting it to size, scikit-image's photographs."""

import io
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F

PHOTOGRAPHS = ("chelsea", "coffee", "astronaut", "rocket")
ORIENTATION = 0x0112  # the EXIF tag: how the camera was held, 1 to 8
BITS, WHITE_IS_ZERO = 258, 262  # TIFF tags


class Unreadable(ValueError):
    """A file that is no picture, or none whose values can be told.

    Args:
        where: the name of the file.
        kind: what is wrong with it, in a few words that others of its kind share.
        detail: what is wrong with this one.
    """

    def __init__(self, where, kind, detail=""):
        said = f"{kind} ({detail})" if detail else kind
        super().__init__(f"cannot read {where} as an image: {said}; remove or replace it")
        self.kind, self.detail = kind, detail


@cache
def suffixes():
    """The suffixes of image files that Pillow reads here, in small letters."""
    from PIL import Image

    try:  # photographs of iPhones: Pillow reads them where this is installed beside it
        from pillow_heif import register_heif_opener

        register_heif_opener()
    except ImportError:
        pass
    known = Image.registered_extensions()
    return tuple(sorted(suffix for suffix, kind in known.items() if kind in Image.OPEN))


def decode(content, where):
    """The bytes of an image file as (channel, height, width), uint8.

    Grey stays grey (one channel), anything else becomes RGB, grey with an alpha channel
    too. What is transparent is laid over white. A photograph that its camera marked as
    turned is turned upright. Of 16 bits the upper eight are taken; of an animation, the
    first picture.

    Args:
        content: the bytes.
        where: the name to give in an error.

    Raises:
        Unreadable: a ValueError; the bytes are no whole image, or one of numbers whose
            range the file does not say.
    """
    from PIL import Image, UnidentifiedImageError

    suffixes()  # registers what is installed beside Pillow
    if not content:
        raise Unreadable(where, "empty file")
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            pixels, turned = values(image, content, where), orientation(image)
    except Unreadable:
        raise
    except UnidentifiedImageError as error:
        raise Unreadable(where, "no picture by its content") from error
    except Image.DecompressionBombError as error:
        raise Unreadable(where, "too many pixels", str(error).split(",")[0]) from error
    except Exception as error:  # Pillow's readers raise whatever their formats make them
        raise Unreadable(where, "damaged, or of a rare format", str(error)) from error
    pixels = torch.from_numpy(pixels)
    return upright(pixels.reshape(*pixels.shape[:2], -1).permute(2, 0, 1), turned)


def values(image, content, where):
    """A Pillow image as uint8: (height, width) for grey, else (height, width, 3)."""
    import numpy as np
    from PIL import Image

    if image.mode[0] in "IF":
        return upper_bits(image, where)
    if image.mode in ("P", "PA", "LA", "La", "RGBA", "RGBa"):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return np.array(Image.alpha_composite(white, image).convert("RGB"))
    pixels = np.array(image.convert("L" if image.mode in ("L", "1") else "RGB"))
    clear = image.info.get("transparency")  # the one value that stands for "nothing here"
    if clear is not None:
        bits = content[24] if image.format == "PNG" else 8  # of a PNG file's own values
        clear = np.array(clear) >> 8 if bits == 16 else np.array(clear)
        if image.mode == "L" and bits < 8:  # Pillow has stretched the pixels to 0…255
            clear = clear * 255 // (2**bits - 1)
        pixels[(pixels == clear).reshape(*pixels.shape[:2], -1).all(axis=2)] = 255
    return pixels


def upper_bits(image, where):
    """The upper eight bits of a grey image of more: (height, width), uint8.

    How many bits there are is the file's word, never the picture's own maximum: two
    pictures from one camera must stay comparable. So a picture that leaves the upper
    two bits empty is refused: it was taken with fewer bits than its file has.
    """
    import numpy as np

    if image.mode == "F":
        raise Unreadable(where, "floating-point numbers of unknown range")
    if image.mode == "I" and image.format not in ("PNG", "PPM"):  # these have 16 bits
        raise Unreadable(where, "32-bit or signed numbers of unknown range")
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(BITS, (16,))[0]
    pixels, top = np.array(image).astype("int64"), 2**bits - 1
    if 0 < pixels.max() < 2 ** (bits - 2):
        detail = f"its brightest value is {pixels.max()} of {top}"
        raise Unreadable(where, f"almost black: {bits} bits hardly used", detail)
    clear = pixels == image.info.get("transparency", -1)
    pixels = top - pixels if tags.get(WHITE_IS_ZERO) == 0 else pixels
    return np.where(clear, 255, pixels >> (bits - 8)).astype("uint8")


def orientation(image):
    """What a loaded Pillow image says of how its camera was held: 1 (upright) to 8."""
    try:
        said = image.getexif().get(ORIENTATION, 1)
    except Exception:  # the tags are damaged, the picture is not
        return 1
    return said if said in range(1, 9) else 1


def upright(image, orientation):
    """Turn a picture as its EXIF orientation asks: (channel, height, width) → upright."""
    if orientation > 4:
        image = image.transpose(1, 2)
    return image.flip(((), (2,), (1, 2), (1,))[(orientation - 1) % 4])


def square(image, size):
    """The central part of a picture, shrunk or grown to size × size (bicubic).

    Args:
        image: (…, height, width), uint8.
        size: side of the result in pixels, or (height, width) where it is no square.

    Returns:
        (…, size, size), uint8. A picture that has the size already is left as it is.
    """
    height, width = image.shape[-2:]
    rows, columns = shape = (size, size) if isinstance(size, int) else tuple(size)
    if (height, width) == shape:
        return image
    scale = min(height / rows, width / columns)  # how much the largest part shrinks
    tall, wide = max(1, round(rows * scale)), max(1, round(columns * scale))
    top, left = (height - tall) // 2, (width - wide) // 2
    cut = image[..., top : top + tall, left : left + wide].float()
    batch = cut.reshape(-1, 1, tall, wide)
    small = F.interpolate(batch, size=shape, mode="bicubic", antialias=True)
    return small.reshape(*image.shape[:-2], *shape).round().clamp(0, 255).to(torch.uint8)


def channels(image, count):
    """A picture with 1 or 3 channels as one with 3 or 1: grey repeated, or colour's luma."""
    if image.shape[-3] == count:
        return image
    if count == 3:
        return image.expand(*image.shape[:-3], 3, *image.shape[-2:])
    weights = torch.tensor([0.299, 0.587, 0.114], device=image.device).view(3, 1, 1)
    return (image.float() * weights).sum(dim=-3, keepdim=True).round().to(torch.uint8)


def picture(path, size, count=3):
    """Your own picture as a model wants it: (count, size, size), uint8.

    Args:
        path: of an image file.
        size: side of the result in pixels, or (height, width); of the picture, the
            central part of that shape.
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
