"""What the settings of a training may be, in one place."""

from dataclasses import fields
from math import inf
from numbers import Integral, Real

KINDS = {int: Integral, float: Real, bool: bool, str: str, tuple: (tuple, list)}
RANGES = (
    (("epochs", "batch_size", "evaluate_every"), "at least 1", lambda v: v >= 1),
    (("learning_rate", "muon_learning_rate"), "above 0 and finite", lambda v: 0 < v < inf),
    (("clip",), "above 0, .inf for none", lambda v: v > 0),
    (("crop",), "0 or above", lambda v: v >= 0),
    (("weight_decay", "mixup", "cutmix"), "0 or above, and finite", lambda v: 0 <= v < inf),
    (("warmup", "label_smoothing", "ema"), "from 0 to below 1", lambda v: 0 <= v < 1),
    (
        ("erase", "mix_probability", "clean", "dropping", "start_rate"),
        "from 0 to 1",
        lambda v: 0 <= v <= 1,
    ),
    (("keep",), "above 0 and at most 1", lambda v: 0 < v <= 1),
    (("seed",), "from 0 to 2**32 - 1", lambda v: 0 <= v < 2**32),
)
CHOICES = {
    "optimizer": ("adamw", "muon"),
    "schedule": ("cosine", "constant"),
    "precision": ("auto", "fp32", "bf16", "fp16"),
    "attention": ("auto", "fused", "written"),
    "compile": ("auto", "on", "off"),
}


def check_settings(config):
    """Refuse settings of a kind or a size with which a training would fail, or learn nothing.

    Args:
        config: a dataclass; of its fields, those that are known here are looked at.

    Raises:
        ValueError: names the setting, what it may be, and what it is.
    """
    given = {field.name: getattr(config, field.name) for field in fields(config)}
    for field in fields(config):
        value, kind = given[field.name], KINDS.get(field.type)
        wrong = isinstance(value, bool) and field.type is not bool
        if kind and (wrong or not isinstance(value, kind)):
            raise ValueError(
                f"{field.name} must be of kind {field.type.__name__}, got {value!r}"
            )
    for names, words, fits in RANGES:
        for name in names:
            if name in given and not fits(given[name]):  # nan fits nowhere
                raise ValueError(f"{name} must be {words}, got {given[name]}")
    for name, known in CHOICES.items():
        if name in given and given[name] not in known:
            raise ValueError(f"{name} must be one of {known}, got {given[name]!r}")
    if not fits_rand_augment(given.get("rand_augment", ())):
        raise ValueError(
            "rand_augment must be [changes per image, magnitude], a whole number from 1 and a "
            f"number from 0 to 30, or []; got {list(given['rand_augment'])}"
        )


def fits_rand_augment(value):
    """Whether a value is empty, or [changes per image, magnitude 0…30]."""
    match value:
        case []:
            return True
        case [changes, size] if not isinstance(changes, bool) and not isinstance(size, bool):
            kinds = isinstance(changes, Integral) and isinstance(size, Real)
            return kinds and changes >= 1 and 0 <= size <= 30
    return False
