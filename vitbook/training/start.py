"""Start a training from given weights instead of from chance: fine-tuning."""

from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from vitbook.published import ANCHOR, PATCHES, at_size, load_published
from vitbook.training.weights import load_weights, normalisation, pretrained_path, read_header

OWN = ("image_size", "channels", "classes", "dropout", "attention_dropout", "drop_path")
BIAS = PATCHES.replace("weight", "bias")


def read_start(source):
    """The model to start from, and the names of its classes (None where nobody says).

    Args:
        source: the name of a model that comes with the package, a file that
            :func:`vitbook.training.save_weights` wrote, or a published ViT's file:
            safetensors, or a state dict that torch.save wrote.

    Raises:
        ValueError: an unknown name, or a file that holds no ViT.
    """
    path = Path(source)
    if not path.is_file():
        path = Path(pretrained_path(source))
    if path.suffix == ".safetensors":
        try:
            header = read_header(path)
            if "config" in header:
                return load_weights(path), header.get("classes")
            state = load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} is no whole safetensors file: {error}") from error
    else:
        try:  # weights_only: data alone, a pickle's code never runs
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            why = " ".join(str(error).split())[:200]
            raise ValueError(f"{path} is no state dict of tensors alone: {why}") from error
    return load_published(vit_in(state, path)), None


def vit_in(state, path):
    """The state dict of the ViT in what a file holds, one floor down at most.

    Raises:
        ValueError: no dictionary, or several models.
    """
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds a {type(state).__name__}; a state dict is wanted")
    floors = {"": state, **{str(k): v for k, v in state.items() if isinstance(v, dict)}}
    found = {k: v for k, v in floors.items() if any(ANCHOR.fullmatch(str(n)) for n in v)}
    if len(found) > 1:
        raise ValueError(f"{path} holds {len(found)} models, {', '.join(found)}; write the one "
                         "to start from into a file of its own")  # fmt: skip
    return next(iter(found.values()), state)


def fitted_to(config, start):
    """A recipe's model with the shape of the one that it starts from.

    Size and channels of the images, classes and dropout stay the recipe's.

    Raises:
        ValueError: the patches do not divide that size.
    """
    side = start.config.patch_size
    if any(length % side for length in config.image_shape):
        raise ValueError(
            f"the weights' patches of {side} pixels do not divide image_size="
            f"{config.image_size}; choose another, as --set model.image_size="
            f"{start.config.image_size}, which the weights had"
        )
    return replace(start.config, **{name: getattr(config, name) for name in OWN})


def refuse_idle(recipe, changes):
    """Refuse what would mean nothing: a rate without weights, a shape beside them.

    Args:
        recipe: as read, with the changes made.
        changes: texts such as "model.dim=64".

    Raises:
        ValueError: names the setting.
    """
    if not recipe.train.start and recipe.train.start_rate != 1:
        raise ValueError(
            f"train.start_rate={recipe.train.start_rate} is for what comes from given weights, "
            "and there are none; give them by --from, or leave it out"
        )
    for change in changes if recipe.train.start else ():
        key = change.partition("=")[0]
        if key == "model" or (key.startswith("model.") and key[6:] not in OWN):
            raise ValueError(
                f"{change} would mean nothing: the weights fix the model, but for "
                f"{', '.join(OWN)}; leave it out"
            )


@torch.no_grad()
def take_over(model, start, known, classes):
    """Fill a model with the weights of another, as far as they fit.

    Positions are resized to the model's grid. The first layer takes in how the weights want
    pixels, as the model is fed with -1…1. A patch projection of colours is summed over
    them for grey images, one of grey is shared among the colours. Rows of the head go by
    the names of the classes; those of classes that the weights don't know stay as drawn.

    Args:
        model: the :class:`vitbook.VisionTransformer` to fill, from :func:`fitted_to`.
        start, known: from :func:`read_start`.
        classes: names of the model's classes.

    Returns:
        The names of the parameters that were filled.
    """
    config = model.config
    state = at_size(start, config.image_size).state_dict()
    state[PATCHES], state[BIAS] = for_our_pixels(state[PATCHES], state[BIAS], start)
    state[PATCHES] = in_channels(state[PATCHES], start.config.channels, config.channels)
    mine = dict(model.named_parameters())
    filled = [name for name in mine if name in state and not name.startswith("head.")]
    for name in filled:
        mine[name].copy_(state[name])
    known = [str(name) for name in known or ()]
    rows = [(i, known.index(str(c))) for i, c in enumerate(classes) if str(c) in known]
    if "head.weight" in state:
        for here, there in rows:
            for part in ("weight", "bias"):
                mine[f"head.{part}"][here] = state[f"head.{part}"][there]
    if len(rows) == len(classes):
        filled += ["head.weight", "head.bias"]
    return filled


def for_our_pixels(weight, bias, start):
    """A first layer that wants pixels as ``start`` does, for pixels at -1…1.

    ``W (v - mean) / std + b`` of a pixel v in 0…1, which is (x + 1) / 2 here.
    """
    mean, std = (torch.tensor(values)[:, None] for values in normalisation(start))
    planes = weight.unflatten(1, (start.config.channels, -1))  # (dim, channel, p * p)
    shift = (planes * (0.5 - mean) / std).sum(dim=(1, 2))
    return (planes * 0.5 / std).flatten(1), bias + shift


def told(source, start, known, classes, new):
    """In one line, from what a training started, and what is new."""
    c = start.config
    head = "its file names no classes"
    if known is not None:
        known = [str(name) for name in known]
        kept = [str(name) for name in classes if str(name) in known]
        moved = kept != [name for name in known if name in kept]
        head = f"its head knows {len(kept)} of {len(classes)} classes by name"
        head += ", in another order" * moved
    return (
        f"started from {source} ({c.depth} blocks, width {c.dim}, {c.heads} heads); {head}; "
        f"new: {', '.join(new) or 'nothing'}"
    )


def in_channels(weight, theirs, ours):
    """A patch projection for another number of channels: (dim, channel * p * p)."""
    if theirs == ours:
        return weight
    planes = weight.unflatten(1, (theirs, -1)).sum(dim=1)  # what it says to a grey patch
    return planes.repeat(1, ours) / ours
