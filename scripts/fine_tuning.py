"""Start from weights and from chance, on few pictures: python scripts/fine_tuning.py.

Per draw, five classes of CIFAR-10 are drawn, and a model of the size of ``cifar10-ablation``
is trained on 2,000 pictures of each. From its weights, and from chance, the same number of
steps is then trained on few pictures of the other five, and marked on test pictures of those.
Every finished training is one line of vitbook/runs/fine_tuning.jsonl. Stop it at any time: what
is recorded is not run again, but a draw that is not complete trains its first five anew.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import mean

import matplotlib
import matplotlib.pyplot as plt
import torch

from vitbook import VisionTransformer
from vitbook.data import Dataset, Split, load, to_device
from vitbook.training import parallel, read_recipe, runs, save_weights
from vitbook.training.engine import Engine
from vitbook.training.start import fitted_to, read_start, take_over

RECORD = Path(__file__).resolve().parent.parent / "vitbook/runs/fine_tuning.jsonl"
BASE = "cifar10-ablation"
DRAWS = range(5)
FIRST = "the first five classes"
PICTURES = (20, 100, 500)  # of each class
MARKED = 500  # test pictures of each class
FIRST_PICTURES, FIRST_EPOCHS = 2000, 6
STEPS, BATCH = 150, 50
WAYS = {  # the factor of the learning rate for what came from the weights
    "from chance": None,
    "from weights": 1.0,
    "from weights, a tenth of the rate": 0.1,
    "from weights, frozen but for the head": 0.0,
}
STYLES = ["o--", "s-", "^-", "d-."]
COLOURS = ["black", "#0072b2", "#009e73", "#d55e00"]


def recorded():
    """All recorded trainings, one dictionary each."""
    lines = RECORD.read_text().splitlines() if RECORD.exists() else []
    return [json.loads(line) for line in lines]


def row(way, pictures):
    """The name of a row of the record."""
    return f"{pictures} pictures of each class, {way}"


def missing(draw):
    """(way, pictures) of every training of a draw that is not recorded."""
    done = {run["row"] for run in recorded() if run["draw"] == draw}
    every = [(way, pictures) for pictures in PICTURES for way in WAYS]
    return [(way, pictures) for way, pictures in every if row(way, pictures) not in done]


def halves(classes, draw):
    """The classes in two halves, by lot."""
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(draw)).tolist()
    middle = len(order) // 2
    return sorted(order[:middle]), sorted(order[middle:])


def few(split, classes, count, draw=None):
    """So many pictures of some classes; by lot, or without ``draw`` the first ones.

    More pictures of one draw hold all of fewer pictures.
    """
    places, labels = [], []
    for label, number in enumerate(classes):
        found = (split.labels == number).nonzero()[:, 0]
        if draw is not None:
            dice = torch.Generator().manual_seed(1000 * draw + number)
            found = found[torch.randperm(len(found), generator=dice).to(found.device)]
        places.append(found[:count])
        labels += [label] * len(places[-1])
    places, labels = torch.cat(places), torch.tensor(labels, device=split.labels.device)
    return Split(split.images[places], labels)


def part(data, classes, count, draw):
    """A data set of some classes, with so many training pictures of each."""
    names = [data.classes[number] for number in classes]
    train = few(data.train, classes, count, draw)
    return Dataset(data.name, names, train, few(data.test, classes, MARKED))


def train(recipe, data, start=None):
    """Train from weights or from chance; (model, accuracy at the end, processor seconds)."""
    torch.manual_seed(recipe.train.seed)
    config, filled = replace(recipe.model, classes=len(data.classes)), ()
    if start:
        found, known = read_start(start)
        config = replace(fitted_to(config, found), classes=len(data.classes))
    model = VisionTransformer(config)
    if start:
        filled = take_over(model, found, known, data.classes)
    model = model.to(data.train.images.device)
    engine = Engine(model, data, recipe.train, filled=filled)
    last = engine.run(progress=False)[-1]
    return engine.result, last["test_accuracy"], engine.processor_seconds


def settings(draw, way=None, pictures=None):
    """The recipe of a training: of the first five classes, or of a way with few pictures."""
    recipe = read_recipe(BASE, ["train.precision=fp32", "train.attention=fused"])
    changes = {"epochs": FIRST_EPOCHS, "seed": draw}
    if way:
        epochs = STEPS * BATCH // (5 * pictures)
        rate = WAYS[way] if WAYS[way] is not None else 1.0
        changes = {
            "epochs": epochs,
            "batch_size": BATCH,
            "seed": 100 + draw,
            "start_rate": rate,
        }
    train = replace(recipe.train, evaluate_every=changes["epochs"], **changes)
    return recipe._replace(train=train)


def run(data, draw, source):
    """Train what is missing of a draw; yields one record after the other."""
    wanted = missing(draw)
    if not wanted:
        return
    first, other = halves(data.classes, draw)
    known = {run["row"] for run in recorded() if run["draw"] == draw}
    about = {
        "device": runs.device_name(data.train.images.device),
        "versions": {"torch": torch.__version__},
        "commit": source,
    }

    def line(name, hits, seconds, classes):
        names = [data.classes[number] for number in classes]
        took = {"accuracy": runs.rounded(hits), "processor_seconds": round(seconds, 1)}
        return {"row": name, "draw": draw, "classes": names, **took, **about}

    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "first.safetensors"
        model, hits, seconds = train(settings(draw), part(data, first, FIRST_PICTURES, draw))
        save_weights(weights, model, classes=[data.classes[number] for number in first])
        if FIRST not in known:
            yield line(FIRST, hits, seconds, first)
        for way, pictures in wanted:
            start = None if WAYS[way] is None else weights
            _, hits, seconds = train(
                settings(draw, way, pictures), part(data, other, pictures, draw), start
            )
            yield line(row(way, pictures), hits, seconds, other)


def accuracies(name):
    """The accuracies of a row in percent, by draw."""
    found = sorted((r for r in recorded() if r["row"] == name), key=lambda r: r["draw"])
    return [100 * r["accuracy"] for r in found]


def table(title, ways, numbers, shape):
    """Mean and range over the draws of some numbers of each way, as a Markdown table."""
    head = [title, *(f"{pictures} pictures of each class" for pictures in PICTURES)]
    lines = [head, ["---"] * len(head)]
    for way in ways:
        cells = [numbers(way, pictures) for pictures in PICTURES]
        spans = [[round(f(cell), 1) + 0.0 for f in (mean, min, max)] for cell in cells]
        lines.append([way, *(shape.format(*span) for span in spans)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def ahead(way, pictures):
    """By how many points a way is ahead of chance, draw by draw."""
    chance, started = (accuracies(row(name, pictures)) for name in ("from chance", way))
    return [b - a for a, b in zip(chance, started, strict=True)]


def told():
    """How it was done, the table, and the differences: a part of the results page."""
    first = accuracies(FIRST)
    done = (
        f"In each of {len(DRAWS)} draws the ten classes are parted by lot. A model of the size "
        f"of `{BASE}` is trained on {FIRST_PICTURES:,} pictures of each of five, in "
        f"{FIRST_EPOCHS} epochs; on those it ends at {mean(first):.1f}% ({min(first):.1f}% to "
        f"{max(first):.1f}%). Then {STEPS} steps with {BATCH} pictures each are trained on the "
        "other five classes, from chance or from those weights. More pictures of a draw hold "
        f"all of fewer, and each training is marked on the same {MARKED} test pictures of each "
        "class. In percent, mean and range over the draws:"
    )
    reached = table(
        "started", WAYS, lambda *of: accuracies(row(*of)), "{:.1f} ({:.1f} to {:.1f})"
    )
    gained = table("beside chance", list(WAYS)[1:], ahead, "{:+.1f} ({:+.1f} to {:+.1f})")
    return f"{done}\n\n{reached}\n\nDraw by draw, in points more than from chance:\n\n{gained}"


@plt.style.context("default")  # whatever else has been imported
def figure(target):
    """Accuracy against the number of pictures: the mean of each way, and every draw."""
    matplotlib.rcParams["svg.hashsalt"] = "vitbook"
    drawing, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
    for k, way in enumerate(WAYS):
        found = [accuracies(row(way, pictures)) for pictures in PICTURES]
        places = [pictures * 1.05 ** (k - 1.5) for pictures in PICTURES]  # side by side
        ax.plot(places, [mean(f) for f in found], STYLES[k], color=COLOURS[k], label=way)
        for place, values in zip(places, found, strict=True):
            ax.plot([place] * len(values), values, ".", color=COLOURS[k], alpha=0.5, ms=5)
    ax.axhline(20, color="0.6", lw=1)
    ax.annotate("guessing", (PICTURES[0], 20), (0, 4), textcoords="offset points", fontsize=9)
    ax.set(
        xscale="log",
        ylim=(15, 70),
        xlabel="training pictures of each class",
        ylabel="accuracy in %",
    )
    ax.set_xticks(PICTURES, PICTURES)
    ax.minorticks_off()
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, fontsize=9, loc="center right", bbox_to_anchor=(1, 0.3))
    drawing.savefig(target, metadata={"Date": None})
    plt.close(drawing)


def main():
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="cifar10", help="where it is not under $VITBOOK_DATA")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--draws", type=int, nargs="+", default=list(DRAWS))
    arguments = parser.parse_args()
    source = runs.commit()  # of the code that runs, whatever is committed meanwhile
    data = to_device(load(arguments.data), parallel.start(arguments.device))
    for draw in arguments.draws:
        for done in run(data, draw, source):
            with open(RECORD, "a") as file:
                file.write(json.dumps(done) + "\n")
            print(f"{done['accuracy']:.1%}  {done['row']}, draw {draw}", flush=True)


if __name__ == "__main__":
    main()
