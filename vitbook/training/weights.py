"""Weights as files: data, never code."""

import json
from dataclasses import asdict
from importlib.resources import files

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from vitbook.vit import VisionTransformer, ViTConfig

MEAN, STD = 0.5, 0.5  # pixels at -1…1: what a model wants that does not say otherwise
WRAPPERS = ("_orig_mod", "module")  # of torch.compile; of DataParallel, DDP and AveragedModel


def save_weights(path, model, mean=None, std=None, **header):
    """Write a model's weights as safetensors, its configuration in the header.

    Args:
        path: of the file.
        model: a :class:`VisionTransformer`, on any device; compiled, shared among
            processes or averaged as well: the names are those of the model inside.
        mean, std: what the model wants taken from pixels in 0…1, and what they are then
            divided by; a number, or one per channel. By default what the model was read
            with, else .5 and .5.
        **header: more to write beside the configuration: data="cifar10", classes=[…].

    Raises:
        ValueError: means or deviations of another number than channels, or a deviation
            that is not above 0.
    """
    model = unwrapped(model)
    means, stds = normalisation(model)
    mean, std = means if mean is None else mean, stds if std is None else std
    means, stds = per_channel(mean, std, model.config.channels)
    header = {"config": asdict(model.config), "mean": means, "std": stds, **header}
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    header = {key: json.dumps(value) for key, value in header.items()}
    save_file({plain_name(key): tensor for key, tensor in tensors.items()}, path, header)


def unwrapped(model):
    """The model inside its wrappers: torch.compile's, DDP's, an average's."""
    while inner := next((getattr(model, w) for w in WRAPPERS if hasattr(model, w)), None):
        model = inner
    return model


def plain_name(key):
    """The name of a tensor without what a wrapper puts in front of it, at any depth."""
    return ".".join(part for part in key.split(".") if part not in WRAPPERS)


def per_channel(mean, std, channels):
    """Means and deviations as lists of one number, or of one for each channel.

    Raises:
        ValueError: another number of them, one that is no finite number, or a deviation
            that is not above 0.
    """
    lists = [torch.as_tensor(v, dtype=torch.float64).flatten().tolist() for v in (mean, std)]
    for values in lists:
        if len(values) not in (1, channels):
            raise ValueError(
                f"mean and std: expected a number, or one for each of {channels} channels; "
                f"got {[len(values)]}"
            )
    if not torch.tensor(lists[0] + lists[1]).isfinite().all() or min(lists[1]) <= 0:
        raise ValueError(
            f"mean and std must be finite numbers, std above 0; got mean={lists[0]}, "
            f"std={lists[1]}"
        )
    return lists


def normalisation(model):
    """[means, deviations] that a model wants, as its file says; else .5 and .5."""
    inner = unwrapped(model)
    said = getattr(inner, "normalisation", (MEAN, STD))
    return per_channel(*said, inner.config.channels)


class Renormalised(nn.Module):
    """A model behind its own normalisation, to be called on pixels at -1…1."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        mean, std = (torch.tensor(v).view(-1, 1, 1) for v in normalisation(model))
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, images):
        return self.model(((images + 1) / 2 - self.mean) / self.std)


def for_predict(model):
    """The model as :func:`vitbook.training.predict` can call it, however it was trained.

    ``predict`` brings pixels to -1…1. A model that wants something else gets it.
    """
    return model if normalisation(model) == [[MEAN], [STD]] else Renormalised(model)


def load_weights(path):
    """Build the model that :func:`save_weights` wrote, in evaluation mode.

    Its attribute ``normalisation`` holds the (mean, std) that it wants.

    Raises:
        ValueError: the file is missing, truncated, no safetensors (a pickle is never
            opened), or not written by :func:`save_weights`.
    """
    try:
        header = read_header(path)
        model = VisionTransformer(ViTConfig(**header["config"]))
        model.load_state_dict({plain_name(k): v for k, v in load_file(path).items()})
        said = header.get("mean", MEAN), header.get("std", STD)
        model.normalisation = per_channel(*said, model.config.channels)
    except (OSError, SafetensorError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is not a whole file of vitbook weights ({error}); expected safetensors "
            "written by vitbook.training.save_weights"
        ) from error
    return model.eval()


def read_header(path):
    """What :func:`save_weights` wrote beside the tensors."""
    with safe_open(path, "pt") as file:
        return {key: json.loads(value) for key, value in (file.metadata() or {}).items()}


def pretrained_path(name):
    """The file of a model that comes with the package.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    folder = files("vitbook") / "weights"
    known = sorted(p.name.removesuffix(".safetensors") for p in folder.iterdir())
    if name not in known:
        raise ValueError(f"no weights are called {name!r}; known: {', '.join(known)}")
    return str(folder / f"{name}.safetensors")


def load_pretrained(name):
    """A model that comes with the package, trained, in evaluation mode.

    Args:
        name: "digits" (chapter 5), "digits-canvas" (chapter 6), "cifar10", or the larger
            "cifar10-hour-amx", kept in float16.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    return load_weights(pretrained_path(name))
