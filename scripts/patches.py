"""What do mini-vit's patches cost? python scripts/patches.py [--data PATH] [--recipe NAME].

Its code cuts a picture without moving the colours: a token holds three squares side by side,
of one colour, where a patch would hold one square in all three. Both ways are trained with one
recipe, five draws each; every finished run is one line of vitbook/runs/patches.jsonl.
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch
from einops import rearrange

from vitbook import VisionTransformer, unpatchify
from vitbook.data import to_device
from vitbook.training import parallel, read_recipe, runs
from vitbook.training.recipes import fitted, read_data

RECORD = Path(__file__).resolve().parent.parent / "vitbook/runs/patches.jsonl"
KEPT = ("test_accuracy_last_epoch", "held_out_is", "epochs", "seconds", "device", "versions",
        "commit")  # fmt: skip


def strips(images, patch_size):
    """A picture whose patches hold what mini-vit's tokens hold.

    Its squares, colour by colour and row by row, are strung together, and the string is cut
    into as many tokens as there are patches.

    Shapes: (batch, channel, height, width) → the same.
    """
    squares = "b c (h p) (w q) -> b (c h w) (p q)"
    squares = rearrange(images, squares, p=patch_size, q=patch_size)
    tokens = rearrange(squares, "b (n c) pixel -> b n (c pixel)", c=images.shape[1])
    grid = [side // patch_size for side in images.shape[-2:]]
    return unpatchify(tokens, patch_size, grid)


def cut(module, inputs):
    """In front of a model: its pictures as strips."""
    return (strips(inputs[0], module.config.patch_size),)


def run(recipe, way, loaded):
    """Train a recipe with "patches" or "strips"; returns its record."""

    def make():
        model = VisionTransformer(recipe.model)
        if way == "strips":
            model.register_forward_pre_hook(cut)
        return model

    with tempfile.TemporaryDirectory() as folder:
        summary = runs.record(recipe, make, loaded, folder)
    torch.compiler.reset()
    about = {"recipe": recipe.name, "position": recipe.model.position, "way": way}
    return {**about, "seed": recipe.train.seed, **{key: summary[key] for key in KEPT}}


def main():
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="CIFAR-10, where it is not under $VITBOOK_DATA")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--recipe", default="cifar10-ablation")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--ways", nargs="+", default=["patches", "strips"])
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    device = parallel.start(arguments.device)
    # whitening would be worked out from patches, for either way
    changes = ["train.whiten=false", *arguments.set]
    recipe = read_recipe(arguments.recipe, changes)
    loaded = to_device(read_data(recipe._replace(data=arguments.data or recipe.data)), device)
    lines = RECORD.read_text().splitlines() if RECORD.exists() else []
    keys = ("recipe", "position", "way", "seed")
    done = [tuple(line[key] for key in keys) for line in map(json.loads, lines)]
    for seed in arguments.seeds:
        for way in arguments.ways:
            if (recipe.name, recipe.model.position, way, seed) in done:
                continue
            drawn = read_recipe(arguments.recipe, [*changes, f"train.seed={seed}"])
            found = run(drawn._replace(model=fitted(drawn.model, loaded)), way, loaded)
            with open(RECORD, "a") as file:
                file.write(json.dumps(found) + "\n")
            print(f"{found['test_accuracy_last_epoch']:.2%}  {way}, seed {seed}", flush=True)


if __name__ == "__main__":
    main()
