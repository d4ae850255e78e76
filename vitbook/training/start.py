"""Start a training from given weights instead of from chance: fine-tuning."""

from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from vitbook.published import at_size, load_published
from vitbook.training.weights import load_weights, pretrained_path, read_header

OWN = ("image_size", "channels", "classes", "dropout", "attention_dropout", "drop_path")
POSITION, PATCHES = "embeddings.position", "embeddings.patches.projection.weight"


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
            raise ValueError(f"{path} is no state dict of tensors alone: {error}") from error
        state = state.get("state_dict", state.get("model", state))
    return load_published(state), None


def fitted_to(config, start):
    """A recipe's model with the shape of the one that it starts from.

    Size and channels of the images, classes and dropout stay the recipe's.
    """
    return replace(start.config, **{name: getattr(config, name) for name in OWN})


@torch.no_grad()
def take_over(model, start, known, classes):
    """Fill a model with the weights of another, as far as they fit.

    Positions are resized to the model's grid. A patch projection of colours is summed over
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


def in_channels(weight, theirs, ours):
    """A patch projection for another number of channels: (dim, channel * p * p)."""
    if theirs == ours:
        return weight
    planes = weight.unflatten(1, (theirs, -1)).sum(dim=1)  # what it says to a grey patch
    return planes.repeat(1, ours) / ours
