"""Chapter 5: training.

``loop`` is the chapter's: a loop that fits on a page. ``engine`` is the same loop with
what long runs need; ``recipes``, ``weights`` and ``runs`` read and write files.
"""

from vitbook.training.loop import (
    BAR,
    TrainConfig,
    accuracy,
    augment,
    learning_rate,
    load_checkpoint,
    parameter_groups,
    predict,
    save_checkpoint,
    train,
    train_epoch,
    train_step,
)
from vitbook.training.muon import Muon
from vitbook.training.recipes import EngineConfig, Recipe, known_recipes, read_recipe
from vitbook.training.runs import recorded_ablations, recorded_runs
from vitbook.training.weights import load_pretrained, load_weights, save_weights

__all__ = [
    "BAR",
    "EngineConfig",
    "Muon",
    "Recipe",
    "TrainConfig",
    "accuracy",
    "augment",
    "known_recipes",
    "learning_rate",
    "load_checkpoint",
    "load_pretrained",
    "load_weights",
    "parameter_groups",
    "predict",
    "read_recipe",
    "recorded_ablations",
    "recorded_runs",
    "save_checkpoint",
    "save_weights",
    "train",
    "train_epoch",
    "train_step",
]
