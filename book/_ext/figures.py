"""Figures on the pages: known size, fetched when near, and a dark form for the dark theme.

The dark form is made from the light one. Ink and ground change places in lightness and keep
their hue; photographs and maps, dense rectangles in the picture, keep their pixels.
"""

import re
from pathlib import Path

import numpy as np
from light_pages import pages
from PIL import Image
from scipy import ndimage

IMAGE = re.compile(r'<img\b(?![^>]*\bloading=)[^>]*\bsrc="([^"]*_images/([^"]+))"[^>]*>')
GROUND, INK = np.array([0x12, 0x12, 0x12]) / 255, np.array([0xE8, 0xEA, 0xED]) / 255
LARGE = 100_000  # bytes; above them a figure is packed with loss
WIDE = 480  # pixels; wider figures scroll in a box of their own on a phone
TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def to_lab(rgb):
    """Oklab (Ottosson 2020) of sRGB in 0..1: lightness, and two axes of hue."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ TO_LMS.T) @ TO_LAB.T


def to_rgb(lab):
    linear = (lab @ np.linalg.inv(TO_LAB).T) ** 3 @ np.linalg.inv(TO_LMS).T
    linear = linear.clip(0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def swapped(rgb):
    """White becomes the dark page's ground, black its ink; what lies between keeps its hue."""
    lab, ground, ink = to_lab(rgb), to_lab(GROUND), to_lab(INK)
    new = ink + lab[..., :1] * (ground - ink)
    new[..., 1:] += lab[..., 1:]
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    strong = ((chroma - 0.06) / 0.08).clip(0, 1)  # lines stay as bright as they are, or more
    new[..., 0] += strong * (lab[..., 0].clip(0.62, 0.85) - new[..., 0])
    return to_rgb(new)


def pictures(pixels):
    """Where a figure holds photographs or maps: True on each of their pixels."""
    drawn = ndimage.binary_fill_holes((pixels != 255).any(axis=-1))
    drawn = ndimage.binary_opening(drawn, np.ones((7, 7)))  # without ticks, lines and letters
    found, kept = ndimage.label(drawn)[0], np.zeros_like(drawn)
    for number, box in enumerate(ndimage.find_objects(found), start=1):
        inside = (found[box] == number) & (pixels[box] != 255).any(axis=-1)
        if min(inside.shape) >= 14 and inside.mean() > 0.5 and not is_band(inside, pixels[box]):
            kept[box] |= found[box] == number
    return kept


def is_band(inside, pixels):
    """A spread drawn behind a curve: slanted with few colours, or light grey for the most."""
    colours, counts = np.unique(pixels[inside], axis=0, return_counts=True)
    most = colours[counts.argmax()].astype(int)
    grey = counts.max() > counts.sum() / 2 and most.min() > 128 and np.ptp(most) < 4
    return grey or (inside.mean() < 0.85 and (counts >= 9).sum() < 20)


def dark_png(source, target):
    figure = Image.open(source).convert("RGBA")
    paper = Image.new("RGBA", figure.size, "white")
    pixels = np.asarray(Image.alpha_composite(paper, figure).convert("RGB"))
    dark = (swapped(pixels / 255) * 255).round().astype("u1")
    mask = pictures(pixels)
    dark[mask] = pixels[mask]
    Image.fromarray(dark).save(target, lossless=True, quality=40, method=2)


def dark_svg(source, target):
    def colour(found):
        rgb = np.array([int(found[1][i : i + 2], 16) for i in (0, 2, 4)]) / 255
        return "#" + "".join(f"{round(255 * v):02x}" for v in swapped(rgb))

    text = re.sub(r"#([0-9a-f]{6})\b", colour, source.read_text("utf-8"))
    text = text.replace("<svg ", '<svg fill="#e8eaed" ', 1)  # letters name no colour
    target.write_text(text, "utf-8")


def size(path):
    """Width and height in CSS pixels."""
    if path.suffix != ".svg":
        return Image.open(path).size
    head = path.read_text("utf-8")[:2000]
    points = (re.search(rf'\b{k}="([\d.]+)pt"', head)[1] for k in ("width", "height"))
    return [round(float(p) / 0.75) for p in points]


def is_figure(path):
    """Mostly white: drawn on paper, not photographed."""
    if path.suffix == ".svg":
        return True
    figure = Image.open(path).convert("RGBA")
    paper = Image.alpha_composite(Image.new("RGBA", figure.size, "white"), figure)
    edge = np.asarray(paper.convert("RGB"))[[0, -1]]
    return (edge == 255).mean() > 0.9


def dark_form(path):
    """The name of the dark form beside a figure; None for a photograph."""
    if not is_figure(path):
        return None
    target = path.with_name(f"{path.stem}-dark{path.suffix.replace('.png', '.webp')}")
    if not target.exists() or target.stat().st_mtime < path.stat().st_mtime:
        (dark_svg if path.suffix == ".svg" else dark_png)(path, target)
    return target.name


def lighter(path):
    """The name of the same picture as WebP, two thirds of a PNG's size or less."""
    if path.suffix != ".png":
        return path.name
    target = path.with_suffix(".webp")
    if not target.exists() or target.stat().st_mtime < path.stat().st_mtime:
        figure = Image.open(path)
        figure.save(target, lossless=True, quality=40, method=2)
        if target.stat().st_size > LARGE:  # a photograph: half the size, at a small loss
            figure.save(target, quality=95, method=6)
    return target.name


def with_class(tag, name):
    if 'class="' in tag:
        return tag.replace('class="', f'class="{name} ', 1)
    return tag.replace("<img", f'<img class="{name}"', 1)


def dressed(folder):
    """What to put in place of an image's tag; folder holds the images."""

    def dress(found):
        tag, address, name = found[0], found[1], found[2]
        width, height = size(folder / name)
        tag = tag.replace("<img", f'<img loading="lazy" width="{width}" height="{height}"', 1)
        dark = dark_form(folder / name)
        other = tag.replace(address, address.replace(name, dark or name))
        tag = tag.replace(address, address.replace(name, lighter(folder / name)))
        if dark:
            tag = with_class(tag, "only-light") + with_class(other, "only-dark")
        if width > WIDE:
            tag = f'<span class="wide-figure" style="--natural: {width}px">{tag}</span>'
        return tag

    return dress


def dress_figures(app, error):
    if error or app.builder.name != "html":
        return
    dress = dressed(Path(app.outdir, "_images"))
    for page in pages(app):
        html = page.read_text("utf-8")
        page.write_text(IMAGE.sub(dress, html), "utf-8")


def setup(app):
    app.connect("build-finished", dress_figures)
    return {"parallel_read_safe": True}
