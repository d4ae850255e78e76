"""python -m vitbook train RECIPE: train a recipe and record the run."""

import argparse
import csv
import json
import platform
import time
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path

import torch
import yaml

from vitbook import VisionTransformer, __version__, data, preset, training


def read_recipe(name):
    """A recipe by name, from the package, or by the path of a YAML file.

    Returns:
        (name, recipe, ViTConfig, TrainConfig); the recipe is the file as a dictionary.

    Raises:
        ValueError: an unknown recipe; the message lists the known ones.
    """
    folder = files("vitbook") / "recipes"
    known = sorted(path.name.removesuffix(".yaml") for path in folder.iterdir())
    if name not in known and not Path(name).is_file():
        raise ValueError(f"no recipe is called {name!r}; known: {', '.join(known)}, or a path")
    path = folder / f"{name}.yaml" if name in known else Path(name)
    recipe = yaml.safe_load(path.read_text("utf-8"))
    config = training.TrainConfig(**recipe["train"])
    return path.name.removesuffix(".yaml"), recipe, preset(recipe["model"]), config


def read_data(recipe):
    """The recipe's data set; with ``images: N``, only the first N training images of it."""
    loaded = data.load(recipe["data"])
    part = data.Split(*(tensor[: recipe.get("images")] for tensor in loaded.train))
    return loaded._replace(train=part)


def run(recipe, out, seed):
    """Train, then write weights, history.csv, config.yaml and summary.json into ``out``."""
    name, recipe, model_config, config = read_recipe(recipe)
    config = training.TrainConfig(**{**asdict(config), "seed": seed})
    out = Path(out or f"runs/{name}/seed{seed}")
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    model = VisionTransformer(model_config)
    started = time.perf_counter()
    history = training.train(model, read_data(recipe), config, out / "checkpoint.pt")
    training.save_weights(out / f"{name}.safetensors", model)
    with open(out / "history.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, history[0])
        writer.writeheader()
        writer.writerows(history)
    resolved = {**recipe, "model": asdict(model_config), "train": asdict(config)}
    (out / "config.yaml").write_text(yaml.safe_dump(resolved, sort_keys=False))
    summary = {
        "test_accuracy_last_epoch": history[-1]["test_accuracy"],
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": round(time.perf_counter() - started),
        "device": f"{torch.get_num_threads()} threads of {platform.machine()}",
        "versions": {"vitbook": __version__, "torch": torch.__version__},
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(json.dumps(summary, indent=2))


def main():
    """Read the command line and run the command."""
    parser = argparse.ArgumentParser(prog="python -m vitbook", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train a recipe and record the run")
    train.add_argument("recipe", nargs="?", default="digits", help="a name or a YAML file")
    train.add_argument("--out", help="folder of the run (default: runs/RECIPE/seedK)")
    train.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    run(arguments.recipe, arguments.out, arguments.seed)


if __name__ == "__main__":
    main()
