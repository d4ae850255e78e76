"""Run the ablations that are not recorded yet: python scripts/ablations.py [--data PATH].

Rows and changes stand in vitbook/ablations.yaml; every finished run is one line of
vitbook/runs/ablations.jsonl. Stop it at any time: what is recorded is not run again.
"""

import argparse
import json
import tempfile
from pathlib import Path

import yaml

from vitbook import VisionTransformer
from vitbook.data import to_device
from vitbook.training import parallel, read_recipe, runs
from vitbook.training.recipes import fitted, read_data

ROOT = Path(__file__).resolve().parent.parent
ROWS = ROOT / "vitbook/ablations.yaml"
RECORD = ROOT / "vitbook/runs/ablations.jsonl"
KEPT = (
    "test_accuracy_last_epoch",
    "flops_per_image",
    "seconds",
    "processor_seconds",
    "device",
    "versions",
    "commit",
)


def recorded():
    """All recorded runs, one dictionary each."""
    lines = RECORD.read_text().splitlines() if RECORD.exists() else []
    return [json.loads(line) for line in lines]


def missing(seeds):
    """(row, changes, seed) of every run that is not recorded; one seed after the other."""
    done = {(run["row"], run["seed"]) for run in recorded()}
    rows = yaml.safe_load(ROWS.read_text())["rows"]
    for seed in seeds:
        for row, changes in rows.items():
            if (row, seed) not in done:
                yield row, changes, seed


def run(base, row, changes, seed, loaded):
    """Train one row with one seed; returns its record."""
    recipe = read_recipe(base, [*changes, f"train.seed={seed}"])
    recipe = recipe._replace(model=fitted(recipe.model, loaded))
    with tempfile.TemporaryDirectory() as folder:
        make = lambda: VisionTransformer(recipe.model)  # noqa: E731
        summary = runs.record(recipe, make, loaded, folder)
        history = (Path(folder) / "history.csv").read_text().splitlines()[1:]
    losses = [float(line.split(",")[1]) for line in history]
    kept = {key: summary[key] for key in KEPT}
    return {"row": row, "changes": changes, "seed": seed, "losses": losses, **kept}


def main():
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="CIFAR-10, where it is not under $VITBOOK_DATA")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    arguments = parser.parse_args()
    base, device = yaml.safe_load(ROWS.read_text())["base"], parallel.start(arguments.device)
    recipe = read_recipe(base)  # no row changes the data
    loaded = to_device(read_data(recipe._replace(data=arguments.data or recipe.data)), device)
    for row, changes, seed in missing(arguments.seeds):
        done = run(base, row, changes, seed, loaded)
        with open(RECORD, "a") as file:
            file.write(json.dumps(done) + "\n")
        print(f"{done['test_accuracy_last_epoch']:.2%}  {row}, seed {seed}", flush=True)


if __name__ == "__main__":
    main()
