"""Weights as files: data, never code."""

import json
from dataclasses import asdict
from importlib.resources import files

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from vitbook.vit import VisionTransformer, ViTConfig


def save_weights(path, model, **header):
    """Write a model's weights as safetensors, its configuration in the header.

    Args:
        path: of the file.
        model: a :class:`VisionTransformer`, on any device.
        **header: more to write beside the configuration: data="cifar10", classes=[…].
    """
    header = {"config": asdict(model.config), **header}
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    save_file(tensors, path, {key: json.dumps(value) for key, value in header.items()})


def load_weights(path):
    """Build the model that :func:`save_weights` wrote, in evaluation mode.

    Raises:
        ValueError: the file is missing, truncated, no safetensors (a pickle is never
            opened), or not written by :func:`save_weights`.
    """
    try:
        config = ViTConfig(**read_header(path)["config"])
        model = VisionTransformer(config)
        model.load_state_dict(load_file(path))
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
        name: "digits" (chapter 5), "digits-canvas" (chapter 6) or "cifar10".

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    return load_weights(pretrained_path(name))
