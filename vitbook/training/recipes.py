"""Recipes: YAML files that fix data, model and training; and changes to them."""

import difflib
import logging
from dataclasses import dataclass, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from vitbook import data
from vitbook.training.loop import TrainConfig
from vitbook.vit import ViTConfig, preset

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineConfig(TrainConfig):
    """A :class:`TrainConfig` with what longer trainings need; all of it is off by default.

    Args:
        optimizer: "adamw", or "muon" for the blocks' matrices (and AdamW for the rest).
        muon_learning_rate: Muon's peak; ``learning_rate`` stays AdamW's.
        schedule: after the warm-up, "cosine" to zero or "constant".
        rand_augment: [changes per image, magnitude 0…30]; empty for none.
        erase: share of the images that lose a rectangle.
        mixup: alpha of mixup; 0 for none.
        cutmix: alpha of CutMix; 0 for none. With both, a coin is tossed per batch.
        mix_probability: share of the batches that are mixed at all.
        clean: last share of all steps without rand_augment, erase, mixup and cutmix.
        keep: share of the patch tokens that the encoder sees while tokens are dropped
            (PatchDropout, Liu et al. 2023); 1 for all.
        dropping: first share of all steps in which tokens are dropped.
        ema: decay of the average of weights that is evaluated and saved; 0 for none.
        whiten: start the patch projection from the principal directions of the patches.
        evaluate_every: epochs from one look at the held-out images to the next; the
            last epoch is always looked at.
        precision: "fp32", "bf16" or "fp16" (with a scaled loss), or "auto": on a CPU
            whichever of float32 and bfloat16 takes less time, on GPUs what they are made
            for (:func:`vitbook.training.precision.formats_of`).
        attention: "fused" by PyTorch's kernel, "written" out as in chapter 3, or "auto" for
            the faster one. Equal but for rounding.
        start: weights to start from (:func:`vitbook.training.start.read_start`); "" for chance.
        start_rate: share of the learning rate for what came from ``start``; 0 freezes it.
        compile: torch.compile: "on", "off", or "auto" for on with GPUs of compute
            capability 7 or more, where Triton is installed and the training is long enough.

    Raises:
        ValueError: a setting of another kind, or out of its range.
    """

    optimizer: str = "adamw"
    muon_learning_rate: float = 0.02
    schedule: str = "cosine"
    rand_augment: tuple = ()
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_probability: float = 1.0
    clean: float = 0.0
    keep: float = 1.0
    dropping: float = 0.0
    ema: float = 0.0
    whiten: bool = False
    evaluate_every: int = 1
    precision: str = "auto"
    attention: str = "auto"
    start: str = ""
    start_rate: float = 1.0
    compile: str = "auto"


class Recipe(NamedTuple):
    """A recipe file, read and checked."""

    name: str
    data: str
    model: ViTConfig
    train: EngineConfig
    images: int | None  # train on the first so many images only
    hold_out: int  # cut so many off the training set, and test on them: for tuning
    about: dict  # source and published, where there are any


KEYS = ("name", "source", "published", "data", "images", "hold_out", "model", "train")


def read_recipe(name, changes=()):
    """Read a recipe by name, from the package, or by the path of a YAML file.

    Args:
        name: such as "digits"; :func:`known_recipes` lists them.
        changes: texts such as "train.epochs=5", "model.dim=64", "data=mnist".

    Raises:
        ValueError: an unknown recipe (the message lists the known ones), an unknown key
            (the message names the nearest known one), or a value of the wrong kind.
    """
    known = known_recipes()
    if name not in known and not Path(name).is_file():
        raise ValueError(f"no recipe is called {name!r}; known: {', '.join(known)}, or a path")
    path = folder() / f"{name}.yaml" if name in known else Path(name)
    recipe = parse(path.read_text("utf-8"), path)
    if not isinstance(recipe, dict):
        raise ValueError(f"{path} is no recipe: expected keys such as {', '.join(KEYS)}")
    for change in changes:
        apply(recipe, change)
    check_keys(recipe, KEYS, str(path))
    model = section(recipe, "model") or {"preset": "digits"}
    images = recipe.get("images")
    base = preset(model.pop("preset")) if "preset" in model else ViTConfig
    called = str(recipe.get("name", path.name.removesuffix(".yaml")))  # config.yaml says it
    if called in ("", "..") or Path(called).name != called:
        raise ValueError(f"name in {path} must be fit for a folder's name, got {called!r}")
    return Recipe(
        called,
        str(recipe.get("data", "digits")),
        fill(base, model, f"model in {path}"),
        fill(EngineConfig, renamed(section(recipe, "train"), path), f"train in {path}"),
        None if images is None else cast(images, int, f"images ({path})"),
        cast(recipe.get("hold_out", 0), int, f"hold_out ({path})"),
        {key: recipe[key] for key in ("source", "published") if key in recipe},
    )


def read_data(recipe):
    """The recipe's data set: at the model's size, its images held out as the recipe says."""
    own = recipe.data in data.BUILT_IN
    loaded = data.load(recipe.data, None if own else recipe.model.image_shape)
    if recipe.images is not None:
        loaded = data.first(loaded, recipe.images)
    return data.hold_out(loaded, recipe.hold_out) if recipe.hold_out else loaded


def fitted(config, loaded):
    """The model's configuration with the channels, the classes and the size of the data."""
    channels, *shape = loaded.train.images.shape[1:]
    if tuple(shape) != config.image_shape:
        config = replace(config, image_size=shape[0] if shape[0] == shape[1] else tuple(shape))
    return replace(config, channels=channels, classes=len(loaded.classes))


def recipe_for(source):
    """The recipe to take where none is named: the digits', or that for one's own pictures.

    Args:
        source: what to train on; None for the digits.

    Raises:
        ValueError: a known data set, which has recipes of its own to choose from.
    """
    if source is None or source == "digits":
        return "digits"
    if source not in data.NAMES:
        return "own-pictures"
    made = [name for name in known_recipes() if read_recipe(name).data == source]
    raise ValueError(
        f"name a recipe to train on {source!r}: {', '.join(made) or 'own-pictures'}; "
        "python -m vitbook recipes lists all"
    )


def folder():
    """Where the package's recipes lie."""
    return files("vitbook") / "recipes"


def known_recipes():
    """The names of the package's recipes."""
    return sorted(path.name.removesuffix(".yaml") for path in folder().iterdir())


def parse(text, where):
    """What a YAML text says."""
    import yaml  # only needed here

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{where} is not YAML: {' '.join(str(error).split())}") from error


def section(recipe, name):
    """A section of a recipe as a new dictionary; a text stands for a preset."""
    found = recipe.get(name)
    found = {} if found is None else {"preset": found} if isinstance(found, str) else found
    if not isinstance(found, dict):
        raise ValueError(f"{name} must be a section with keys, got {found!r}")
    return dict(found)


def renamed(train, path):
    """The train section with today's key for an old one, ``bf16: auto | on | off``."""
    if "bf16" not in train:
        return train
    said = train.pop("bf16")
    meant = {"auto": "auto", True: "bf16", "on": "bf16", False: "fp32", "off": "fp32"}
    if said not in meant:
        raise ValueError(f"bf16 in {path} must be auto, on or off, got {said!r}")
    LOG.warning("%s says bf16: %s; write precision: %s", path, said, meant[said])
    return {"precision": meant[said], **train}


def apply(recipe, change):
    """Set one value of a recipe: "train.epochs=5"."""
    key, equals, value = change.partition("=")
    if not equals:
        raise ValueError(f"expected KEY=VALUE such as train.epochs=5, got {change!r}")
    first, dot, second = key.partition(".")
    if not dot:
        recipe[first] = parse(value, change)
        return
    recipe[first] = {**section(recipe, first), second: parse(value, change)}


def check_keys(given, known, where):
    """Refuse a key that does not exist, and name the one that was probably meant."""
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise ValueError(f"unknown key {key!r} in {where}; {hint}")


def fill(base, values, where):
    """A configuration with some fields set: ``base`` is a dataclass, or one's instance."""
    kinds = {field.name: field.type for field in fields(base)}
    check_keys(values, list(kinds), where)
    values = {key: cast(value, kinds[key], f"{key} ({where})") for key, value in values.items()}
    try:
        return base(**values) if isinstance(base, type) else replace(base, **values)
    except TypeError as error:  # fields are missing
        raise ValueError(f"{where}: {error}; give them, or name a preset") from error


def cast(value, kind, where):
    """A value of the field's kind, where YAML sees another: text in 1e-3, a bool in on."""
    if kind is str and isinstance(value, bool):
        value = "on" if value else "off"
    if kind is float and not isinstance(value, bool):
        try:
            return float(value)
        except (TypeError, ValueError):
            pass  # refused below
    value = tuple(value) if isinstance(value, list) else value
    if kind in (int, float, bool, str, tuple) and type(value) is not kind:
        kind = "list" if kind is tuple else kind.__name__
        raise ValueError(f"{where} must be of kind {kind}, got {value!r}")
    return value
