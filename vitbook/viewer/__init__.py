"""The interactive attention viewer: in a notebook and on the site, the same module.

Weights are sent as bytes, each row divided by its maximum, and the maxima in 16 bits: a
weight shown is wrong by at most 1/510 of its row's maximum plus 1/65535 of the largest. The
model runs in double precision for it, so that two machines write the same bytes.
"""

import base64
import copy
import hashlib
import html
import json
import struct
import zlib
from importlib.resources import files

import numpy as np
import torch

from vitbook.data import normalize
from vitbook.explain import position_similarity, record_attention, relevance_of, rollout
from vitbook.explain.gradients import recorded_with_gradients
from vitbook.training.weights import normalisation, per_channel, unwrapped


class View:
    """What a notebook shows: HTML, complete in itself."""

    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return "<a vitbook viewer>"  # without an address, which would differ every time

    def _repr_html_(self):
        return self.text


def show_attention(model, image, labels=None, target=None, mean=None, std=None, box=None):
    """Show where every token of an image looks, in every layer and head.

    The sentence beside the picture counts rows and columns of patches from 0, layers and
    heads from 1.

    Args:
        model: a :class:`vitbook.VisionTransformer`; it is left as it was. Or two of one
            shape, {name: model}: they stand side by side, and what is picked in one is
            picked in the other.
        image: (channel, height, width), uint8.
        labels: names of the classes; their numbers by default.
        target: the class that relevance is asked about; the predicted one by default.
        mean, std: what is subtracted from the pixels in 0…1, and what they are then
            divided by; a number, or one for each channel. They must be those of the model's
            training; the default is what its file says, else .5 and .5 as for all models
            trained in this book.
        box: (top, left, bottom, right) in pixels, where the truth is known; it is framed.

    Returns:
        An object that Jupyter, VS Code and Colab draw.

    Raises:
        ValueError: an image of another kind or size, another number of labels, means or
            deviations, or models that cannot stand side by side.
    """
    asked = image, labels, target, mean, std
    if not isinstance(model, dict):
        found = look(model, *asked)
        return View(widget("mount", packed(found, box), still(found)))
    shapes = [layout(unwrapped(one).config) for one in model.values()]
    if len(model) != 2 or shapes[0] != shapes[1]:
        raise ValueError(
            "expected two models alike in grid, pooling, depth and number of heads, got "
            f"{dict(zip(model, shapes, strict=True))}"
        )
    found = [look(one, *asked) for one in model.values()]
    data = {"names": [*model], "pair": [packed(one, box) for one in found]}
    figures = [still(one, f"{name}: ") for name, one in zip(model, found, strict=True)]
    return View(widget("mountPair", data, "".join(figures)))


def layout(config):
    """What two models must share to stand side by side."""
    return config.grid, config.pool, config.depth, config.heads


def look(model, image, labels, target, mean, std):
    """All that is shown of one model's look at an image.

    Returns:
        weights (layer, head, query, key); image; grid, (rows, columns) of patches;
        class_token, whether token 0 is one; tables, {name: (query, key)} of methods that join
        all layers; predictions, [(label, probability), …].
    """
    model = unwrapped(model)
    config = model.config
    if image.ndim != 3 or image.dtype != torch.uint8:
        raise ValueError(
            f"expected one image (channel, height, width), uint8, got {tuple(image.shape)}, "
            f"{image.dtype}"
        )
    if labels is not None and len(labels) != config.classes:
        raise ValueError(f"expected {config.classes} labels, got {len(labels)}")
    image = image.cpu()
    means, stds = normalisation(model)
    mean, std = means if mean is None else mean, stds if std is None else std
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in per_channel(mean, std, len(image)))
    twin = copy.deepcopy(model).cpu().double().eval()  # no accelerator: two would differ
    pixels = normalize(image[None], mean, std).double()
    with torch.no_grad(), record_attention(twin) as maps:
        probabilities = twin(pixels)[0].softmax(dim=0)
    relevances = relevance_of(*recorded_with_gradients(twin, pixels, target))[0]
    tables = {
        "rollout": rollout(maps.weights)[0],
        "relevance": relevances - torch.eye(len(relevances)).double(),
    }
    names = [str(label) for label in (range(config.classes) if labels is None else labels)]
    top = probabilities.topk(min(3, config.classes))
    predictions = [
        (names[k], round(p, 3)) for p, k in zip(*(t.tolist() for t in top), strict=True)
    ]
    return {
        "weights": maps.weights[:, 0],
        "image": image,
        "grid": config.grid,
        "class_token": config.pool == "cls",
        "tables": tables,
        "predictions": predictions,
    }


def packed(look, box=None):
    """A look as the module reads it; box is (top, left, bottom, right) in pixels, framed."""
    weights, image = look["weights"], look["image"]
    layers, heads, _, _ = weights.shape
    return {
        "layers": layers,
        "heads": heads,
        "rows": look["grid"][0],
        "columns": look["grid"][1],
        "classToken": look["class_token"],
        "image": png(image),
        "predictions": look["predictions"],
        "box": None if box is None else shares(box, image),
        "weights": quantised(weights),
        "tables": {k: quantised(table.clamp(min=0)) for k, table in look["tables"].items()},
    }


def shares(box, image):
    """A box's sides as shares of the picture's height and width."""
    top, left, bottom, right = (float(side) for side in box)
    height, width = image.shape[-2:]
    return [top / height, left / width, bottom / height, right / width]


def widget(function, data, figure):
    """HTML that holds a figure, data, and the module that replaces the figure.

    Args:
        function: which of the module's functions draws.
        data: what it is given; written as JSON.
        figure: HTML to be seen where scripts are off.
    """
    text = json.dumps(data).replace("<", "\\u003c")  # a label cannot end the script
    mark = "vv-" + hashlib.sha256((function + text).encode()).hexdigest()[:12]
    module = (files("vitbook") / "viewer/viewer.mjs").read_text("utf-8")
    return (
        f'<div class="vitbook-viewer" data-key="{mark}">{figure}</div>\n'
        f'<script type="application/json" data-for="{mark}">{text}</script>\n'
        f'<script type="module">\n{module}\nstart("{mark}", {function});\n</script>'
    )


def show_patches(image, start=8):
    """A slider for the patch size on a picture, with the tokens and the looks they cost.

    Args:
        image: (channel, side, side), uint8.
        start: the patch size shown first; must divide the side.

    Raises:
        ValueError: a picture that is no square, or a patch size that does not divide it.
    """
    image, side = image.cpu(), image.shape[-1]
    sizes = [size for size in range(2, side // 2 + 1) if side % size == 0]
    if image.shape[-2] != side or start not in sizes:
        raise ValueError(
            f"expected a square picture and a patch size out of {sizes}, got "
            f"{tuple(image.shape)} and {start}"
        )
    lines = "".join(
        f'<path d="M{i} 0V{side}M0 {i}H{side}" stroke="#fff" stroke-width="0.5"/>'
        for i in range(start, side, start)
    )
    label = f"The picture cut into patches of {start} by {start} pixels."
    figure = (
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {side} {side}" width="320">'
        f'<image href="{png(image)}" width="{side}" height="{side}"/>{lines}</svg>'
    )
    data = {"image": png(image), "side": side, "sizes": sizes, "start": start}
    return View(widget("mountPatches", data, figure))


def show_positions(table, grid):
    """Point at a position, see which others it resembles (cosine of the embeddings).

    Args:
        table: (patch, dim), without the class token's row.
        grid: (rows, columns) of patches.
    """
    similar = position_similarity(table.detach().cpu().double(), grid)
    rows, columns = grid
    middle = similar[rows // 2, columns // 2]
    cells = "".join(
        f'<rect x="{j}" y="{i}" width="1" height="1" fill-opacity="{(value + 1) / 2:.2f}"/>'
        for i, line in enumerate(middle.tolist())
        for j, value in enumerate(line)
    )
    label = f"How much each position resembles row {rows // 2}, column {columns // 2}."
    figure = (
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {columns} {rows}" width="240" '
        f'fill="currentColor">{cells}</svg>'
    )
    steps = ((similar + 1) * 127.5).round().clamp(0, 255)
    data = {"rows": rows, "columns": columns, "similar": encoded(steps.numpy().astype("u1"))}
    return View(widget("mountPositions", data, figure))


def quantised(table):
    """Rows as bytes of their maximum, and the maxima as 16 bits of the largest, ``unit``."""
    table = table.double()
    top = table.amax(dim=-1)
    unit = top.max().clamp(min=1e-30)
    steps = (top / unit * 65535).ceil().clamp(min=1)  # rounded up: no row exceeds its maximum
    rows = (table / (steps / 65535 * unit)[..., None] * 255).round()
    return {
        "bytes": encoded(rows.numpy().astype("u1")),
        "scales": encoded(steps.numpy().astype("<u2")),
        "unit": float(f"{unit.item():.9g}"),
    }


def encoded(array):
    """An array's bytes in base64."""
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def png(image):
    """An image as a data address; stored, not compressed: the same bytes everywhere."""
    pixels = image.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()
    height, width, _ = pixels.shape

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    lines = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    content += chunk(b"IDAT", zlib.compress(lines, 0)) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(content).decode()


def still(look, lead=""):
    """A figure for readers without scripts: the picture, and the last layer's mean map."""
    rows, columns = look["grid"]
    last = look["weights"][-1].mean(dim=0)
    looks = last[0, 1:] if look["class_token"] else last.mean(dim=0)
    shades = (looks / looks.max()).tolist()
    cells = "".join(
        f'<rect x="{columns + 1 + i % columns}" y="{i // columns}" width="1" height="1" '
        f'fill-opacity="{shade:.2f}"/>'
        for i, shade in enumerate(shades)
    )
    name, share = look["predictions"][0]
    who = "the class token" if look["class_token"] else "the mean of all tokens"
    label = html.escape(f"{lead}The picture, and where {who} looks in the last layer. "
                        f"The model says {name}, {share:.0%}.", quote=True)  # fmt: skip
    return (
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {2 * columns + 1} {rows}" '
        f'width="480" style="max-width:100%" fill="currentColor">'
        f'<image href="{png(look["image"])}" width="{columns}" height="{rows}" '
        f'style="image-rendering:pixelated"/>{cells}</svg>'
    )
