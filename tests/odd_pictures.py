"""Pictures as people have them: python tests/odd_pictures.py FOLDER makes a data set of them.

All show one scene of four colours, no two corners alike, so that a picture that lies on its
side, or is laid over black, cannot pass for the right one.
"""

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

SHAPE = (32, 48)
CORNERS = ((200, 30, 30), (30, 200, 30), (30, 30, 200), (230, 230, 60))
GREYS = (40, 100, 160, 220)
ORIENTATION = 0x0112


def scene(corners):
    """(32, 48, …) with a value for each quarter: upper left, upper right, lower left, …"""
    quarters = np.array(corners, dtype=np.uint8).reshape(2, 2, -1)
    return quarters.repeat(16, axis=0).repeat(24, axis=1).squeeze()


COLOUR, GREY = scene(CORNERS), scene(GREYS)


def over_white(first, pixels):
    """The scene with its first quarter white, as far as it is transparent: 0 to 1."""
    shown = pixels.copy()
    shown[:16, :24] = np.round(255 * first + (1 - first) * shown[:16, :24].astype(float))
    return shown


def saved(pixels, kind, mode=None, **options):
    """The bytes of a file."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    content = io.BytesIO()
    if kind == "JPEG":  # as exact as it gets
        options |= {"quality": 95, "subsampling": 0}
    (image.convert(mode) if mode else image).save(content, kind, **options)
    return content.getvalue()


def turned(orientation, kind, pixels=COLOUR, **options):
    """The scene as a camera stores it that was held in another way, with the tag for it."""
    stored = {2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1],
              5: pixels.swapaxes(0, 1), 6: pixels.swapaxes(0, 1)[::-1],
              7: pixels.swapaxes(0, 1)[::-1, ::-1],
              8: pixels.swapaxes(0, 1)[:, ::-1]}  # fmt: skip
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return saved(np.ascontiguousarray(stored[orientation]), kind, exif=exif, **options)


def png(values, bits, colour=False, clear=None, shape=None):
    """A PNG file by hand, of depths that Pillow does not write.

    Args:
        values: (height, width) or, for ``colour``, (height, width, 3), as in the file.
        bits: for each value.
        clear: the values that stand for transparent.
        shape: (height, width) that the header claims, if it lies.
    """
    height, width = values.shape[:2]
    places = values.reshape(height, -1)[..., None] >> np.arange(bits)[::-1] & 1
    rows = np.packbits(places.reshape(height, -1).astype(np.uint8), axis=1)
    header = struct.pack(
        ">IIBBBBB", *(shape or (height, width))[::-1], bits, 2 * colour, 0, 0, 0
    )
    chunks = [(b"IHDR", header)]
    if clear is not None:
        chunks.append((b"tRNS", struct.pack(f">{len(clear)}H", *clear)))
    chunks += [(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))]
    text = b"\x89PNG\r\n\x1a\n"
    for name, body in [*chunks, (b"IEND", b"")]:
        text += struct.pack(">I", len(body)) + name + body
        text += struct.pack(">I", zlib.crc32(name + body))
    return text


def tiff(values, bits, white_is_zero=False):
    """A grey TIFF file by hand, of 12 or 16 bits."""
    height, width = values.shape
    places = values[..., None] >> np.arange(12)[::-1] & 1
    body = np.packbits(places.reshape(height, -1).astype(np.uint8), axis=1).tobytes()
    body = values.astype("<u2").tobytes() if bits == 16 else body
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: 1 - white_is_zero, 273: 8,
            277: 1, 278: height, 279: len(body)}  # fmt: skip
    fields = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + (
        struct.pack("<H", len(tags)) + fields + bytes(4)
    )  # fmt: skip


def odd_pictures():
    """{name: (bytes, what should be seen, by how much it may differ)}.

    What should be seen is an array of pixels, or for a file that is to be left out the
    kind under which it is named.
    """
    plain = Image.fromarray(COLOUR)
    indexed, clear = plain.quantize(8), Image.fromarray(np.dstack([COLOUR, 0 * GREY + 255]))
    index = indexed.getpixel((0, 0))
    half = np.dstack([COLOUR, np.where(scene((1, 0, 0, 0)), 55, 255).astype(np.uint8)])
    half_white, bit = over_white(200 / 255, COLOUR), scene((0, 255, 255, 0))
    parts = bytes([255] * index + [55] + [255] * (7 - index))  # how opaque each index is
    frames = [Image.fromarray(COLOUR[::-1].copy()), Image.new("RGB", plain.size)]
    jpeg, picture = saved(plain, "JPEG"), saved(plain, "PNG")
    grey_white, floats = over_white(1, GREY), GREY.astype(np.float32) / 255
    deep, deep_colour = GREY.astype(np.int64) * 257, COLOUR.astype(np.int64) * 257
    wide = np.zeros((6, 3000, 3), np.uint8)
    wide[:, 1495:1505] = 200
    shown_wide = np.zeros((*SHAPE, 3), np.uint8) + 200
    broken_tags = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(20)
    found = {f"phone {k}.jpg": (turned(k, "JPEG"), COLOUR, 6) for k in range(2, 9)}
    return found | {
        "turned.png": (turned(6, "PNG"), COLOUR, 0),
        "turned.tif": (turned(3, "TIFF"), COLOUR, 0),
        "turned.webp": (turned(8, "WEBP", lossless=True), COLOUR, 0),
        "damaged tags.jpg": (saved(plain, "JPEG", exif=broken_tags), COLOUR, 6),
        "print.jpg": (saved(plain, "JPEG", "CMYK"), COLOUR, 9),
        "progressive.jpg": (saved(plain, "JPEG", progressive=True), COLOUR, 6),
        "grey.jpg": (saved(GREY, "JPEG"), GREY, 3),
        "SHOUTING.JPG": (jpeg, COLOUR, 6),
        "my cat, \u00fcber-s\u00fc\u00df \u732b.jpeg": (jpeg, COLOUR, 6),
        "really a png.jpg": (picture, COLOUR, 0),
        "palette.png": (saved(indexed, "PNG"), COLOUR, 0),
        "palette, one clear.png": (saved(indexed, "PNG", transparency=index),
                                   over_white(1, COLOUR), 0),
        "palette, one half clear.png": (
            saved(indexed, "PNG", transparency=parts), half_white, 1),
        "one colour clear.png": (saved(plain, "PNG", transparency=CORNERS[0]),
                                 over_white(1, COLOUR), 0),
        "half clear.png": (saved(half, "PNG"), half_white, 1),
        "half clear.webp": (saved(half, "WEBP", lossless=True), half_white, 1),
        "opaque.tiff": (saved(clear, "TIFF"), COLOUR, 0),
        "grey and alpha.png": (saved(Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(
            half[..., 3].copy())]), "PNG"), over_white(200 / 255, GREY), 1),
        "one grey clear.png": (saved(GREY, "PNG", transparency=GREYS[0]), grey_white, 0),
        "1 bit.png": (saved(Image.fromarray(bit), "PNG", "1"), bit, 0),
        "1 bit, black clear.png": (png(bit // 255, 1, clear=[0]), 0 * bit + 255, 0),
        "1 bit, white clear.png": (png(bit // 255, 1, clear=[1]), bit, 0),
        "2 bits, one clear.png": (png(scene((2, 1, 0, 3)), 2, clear=[2]),
                                  scene((255, 85, 0, 255)), 0),
        "16 bits.png": (png(deep, 16), GREY, 0),
        "16 bits, one clear.png": (png(deep, 16, clear=[GREYS[0] * 257]), grey_white, 0),
        "16 bits of colour.png": (png(deep_colour, 16, True), COLOUR, 0),
        "16 bits of colour, one clear.png": (
            png(deep_colour, 16, True, [257 * part for part in CORNERS[0]]),
            over_white(1, COLOUR), 0),
        "16 bits.tif": (tiff(deep, 16), GREY, 0),
        "16 bits, white is 0.tif": (tiff(65535 - deep, 16, True), GREY, 0),
        "12 bits.tif": (tiff(GREY.astype(np.int64) * 16 + 7, 12), GREY, 0),
        "12 bits in 16.png": (png(GREY.astype(np.int64) * 16, 16), "almost black", 0),
        "float.tif": (saved(floats, "TIFF"), "floating-point numbers", 0),
        "32 bits.tif": (saved(GREY.astype(np.int32), "TIFF"), "32-bit or signed numbers", 0),
        "moving.gif": (saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
                       COLOUR[::-1], 0),
        "clear.gif": (saved(indexed, "GIF", transparency=index), over_white(1, COLOUR), 0),
        "moving.webp": (saved(frames[0], "WEBP", save_all=True, append_images=frames[1:],
                              lossless=True), COLOUR[::-1], 0),
        "plain.bmp": (saved(plain, "BMP"), COLOUR, 0),
        "wide.png": (saved(wide, "PNG"), shown_wide, 0),
        "one pixel.png": (saved(np.full((1, 1, 3), 77, np.uint8), "PNG"),
                          np.full((*SHAPE, 3), 77, np.uint8), 0),
        "empty.jpg": (b"", "empty file", 0),
        "a web page.jpg": (b"<html>404 not found</html>", "no picture by its content", 0),
        "half.jpg": (jpeg[:-60], "damaged", 0),
        "half.png": (picture[: len(picture) // 2], "damaged", 0),
        "huge.png": (png(GREY, 8, shape=(60_000, 60_000)), "too many pixels", 0),
        "Thumbs.db": (b"\xd0\xcf", ".db files", 0),
        "film.mp4": (bytes(99), ".mp4 files", 0),
        "notes.txt": (b"my holidays", ".txt files", 0),
        "IMG_0001": (jpeg, "files without a suffix", 0),
        ".hidden.png": (picture, "hidden", 0),
        "._phone.jpg": (bytes(9), "hidden", 0),
        "more/deeper/nested.png": (picture, COLOUR, 0),
    }  # fmt: skip


def make(folder):
    """Write a data set of two classes: odd pictures, and plain ones that are the scene's grey.

    Beside the files of :func:`odd_pictures` there are links: to a file, to a folder, to
    nothing, and one to the folder it lies in.
    """
    folder = Path(folder)
    for split, count in (("train", 20), ("validation", 5)):
        for kind, pixels in (("odd", COLOUR), ("plain", GREY)):
            (folder / split / kind).mkdir(parents=True)
            for i in range(count):
                (folder / split / kind / f"{i:02}.png").write_bytes(saved(pixels, "PNG"))
    for split in ("train", "validation"):
        for name, (content, _, _) in odd_pictures().items():
            path = folder / split / "odd" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        odd = folder / split / "odd"
        (odd / "linked.png").symlink_to("00.png")
        (odd / "linked folder").symlink_to("more/deeper")
        (odd / "round").symlink_to("../odd")
        (odd / "broken.png").symlink_to("gone.png")
    return folder


if __name__ == "__main__":
    make(sys.argv[1])
