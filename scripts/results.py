"""Write the results page from the recorded runs: python scripts/results.py.

Everything between the marks in the pages below, and the figures in book/_static/results/,
comes from vitbook/runs and vitbook/recipes. A test runs this and compares.
"""

import csv
import json
import math
import re
from pathlib import Path
from statistics import mean, variance

import fine_tuning
import matplotlib
import matplotlib.pyplot as plt
import torch
import yaml
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from vitbook import VisionTransformer
from vitbook.training import known_recipes, read_recipe, recorded_ablations, recorded_runs
from vitbook.training.engine import TokenDropping
from vitbook.training.runs import flops

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / f"book/{name}.md" for name in ("results", "cifar10_model", "lab_notes")]
FIGURES = ROOT / "book/_static/results"
RUNS = ROOT / "vitbook/runs"
RIVAL = RUNS / "rival.json"
OURS = "cifar10-cpu"
RATE = "vit-small-mnist-1-epoch"  # how fast one core trains a wide model
IMAGES = {  # to train on, to test on
    "cifar10": (50_000, 10_000),
    "mnist": (60_000, 10_000),
    "tiny-imagenet": (100_000, 10_000),
}
PRESETS = yaml.safe_load((ROOT / "vitbook/presets.yaml").read_text())
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555"]
STYLES = ["-", "--", "-.", ":"]


def summaries(name):
    """The summaries of a recipe's recorded runs, by seed."""
    paths = sorted((RUNS / name).glob("seed*/summary.json"))
    return [json.loads(path.read_text()) for path in paths]


def table(head, rows):
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def size(recipe):
    """(parameters, FLOPs per image) of a recipe's model, counted without any training."""
    model = VisionTransformer(recipe.model)
    image = torch.zeros(1, recipe.model.channels, *recipe.model.image_shape).byte()
    return sum(p.numel() for p in model.parameters()), flops(model, image)


def minutes(runs):
    """The minutes of runs, by the device they ran on: {device: [minutes, …]}."""
    found = {}
    for run in runs:
        device = re.sub("^1 threads", "1 thread", run["device"])  # as older runs say it
        found.setdefault(device, []).append(run["seconds"] / 60)
    return found


def operations(per_image, training, test, epochs):
    """Of a whole training, its test after each epoch included.

    A training picture costs three passes: one forward, and backward about twice as much.
    """
    return epochs * (3 * training + test) * per_image


def speed(name):
    """Operations per second of processor time in a recorded run."""
    run = summaries(name)[0]
    images = run["training_images"], run["held_out_images"]
    done = operations(run["flops_per_image"], *images, run["epochs"])
    return done / run["processor_seconds"]


def core_hours(name):
    """What a recipe that was not run would cost at the speed of ``RATE``."""
    recipe = read_recipe(name)
    work = operations(size(recipe)[1], *IMAGES[recipe.data], recipe.train.epochs)
    return work / speed(RATE) / 3600


def spread(shares):
    """Mean and range in percent, with one decimal."""
    ends = f" ({min(shares):.1%} to {max(shares):.1%})" if len(shares) > 1 else ""
    return f"{mean(shares):.1%}{ends}"


def shorter(name):
    """What is recorded of a recipe that was not run to its end, one text for each run."""
    for folder in sorted((RUNS / name).glob("*")):
        if folder.name.startswith("seed"):
            continue
        rows = list(csv.DictReader((folder / "history.csv").read_text().splitlines()))
        seen = [row for row in rows if row["test_accuracy"]][-1]
        planned = yaml.safe_load((folder / "config.yaml").read_text())["train"]["epochs"]
        when = f"after epoch {seen['epoch']} of {planned}, stopped at {len(rows)}"
        if planned == len(rows):
            when = f"with {planned} epochs in place of {read_recipe(name).train.epochs}"
        yield f"{float(seen['test_accuracy']):.1%} {when}"


def reached(name):
    """Accuracy of the recorded runs at their last and best epochs, or why there are none."""
    runs = summaries(name)
    if not runs:
        found = "; ".join(shorter(name))
        return found or f"not run: {float(f'{core_hours(name):.2g}'):.0f} core-hours", "–"
    last = [run["test_accuracy_last_epoch"] for run in runs]
    drawn = {path.name.removesuffix("-cpu") for path in (RUNS / name).glob("seed*")}
    seeds = "1 seed" if len(drawn) == 1 else f"{len(drawn)} seeds"
    seeds = f"{len(runs)} runs of {seeds}" if len(runs) > len(drawn) else seeds
    best = [run.get("test_accuracy_best_epoch") for run in runs]
    epochs = ", ".join(str(run.get("best_epoch")) for run in runs)
    shown = f"{spread(best)}, epoch {epochs}" if None not in best else "–"
    return f"{spread(last)}, {seeds}", shown


def parameters(recipe, count):
    """Millions of parameters, and those of the source's own model where it was built."""
    named = yaml.safe_load((ROOT / f"vitbook/recipes/{recipe.name}.yaml").read_text())["model"]
    preset = named if isinstance(named, str) else named["preset"]
    theirs = PRESETS[preset].get("theirs") if recipe.about else None
    other = ", theirs too" if theirs == count else f", theirs {(theirs or 0) / 1e6:.2f}M"
    return f"{count / 1e6:.2f}M" + other * bool(theirs)


def comparison(names):
    """One row per recipe: what was published, if anything was, and what was reached here.

    Devices have letters in the table, and stand below it.
    """
    times = {name: minutes(summaries(name)) for name in names}
    devices = sorted({device for found in times.values() for device in found})
    letters = {device: "abcdefgh"[i] for i, device in enumerate(devices)}
    known = any(read_recipe(name).about for name in names)
    head = ["recipe", *(["published"] * known), "here, last epoch", *(["best epoch"] * known),
            "epochs", "parameters", "MFLOPs", "minutes"]  # fmt: skip
    rows = []
    for name in names:
        recipe, (last, best) = read_recipe(name), reached(name)
        count, per_image = size(recipe)
        said = [recipe.about.get("published", "–")] * known
        numbers = [
            str(recipe.train.epochs),
            parameters(recipe, count),
            f"{per_image / 1e6:.0f}",
        ]
        took = ", ".join(f"{mean(t):.1f} ({letters[d]})" for d, t in times[name].items())
        rows.append([f"`{name}`", *said, last, *([best] * known), *numbers, took])
    below = "; ".join(f"({letter}) {device}" for device, letter in letters.items())
    return table(head, rows) + (f"\n\nDevices: {below}." if below else "")


def published(names):
    """The table of published recipes, and what stands behind its columns."""
    wide, narrow = (speed(name) / 1e9 for name in (RATE, "tinyvit-cifar10"))
    runs = [run for name in names for run in summaries(name)]
    more = max(r["test_accuracy_best_epoch"] - r["test_accuracy_last_epoch"] for r in runs)
    every = [json.loads(path.read_text()) for path in RUNS.glob("*/seed*/summary.json")]
    longest = max(run.get("processor_seconds", 0) for run in every) / 3600
    where = f"it lies at most {100 * more:.2f} points above" if more else "it is the same"
    return (
        f"{comparison(names)}\n\nThe best epoch is the best by the test set. Beside the last "
        f"of a row that was run to its end {where}.\n\n"
        "A row that ended early, or has fewer epochs than its recipe, says so: the GPU's time "
        "was short. One that was not run says what it would cost, and TinyImageNet's wait "
        "for their pictures, too. The cost is its operations, three passes for "
        "each training picture and one for each test picture, at the "
        f"{wide:.0f} billion a second that one core did in the recorded run `{RATE}`. That "
        "model is 384 wide. Narrow ones are slower, so their hours are too few: "
        f"`tinyvit-cifar10`, 64 wide, did {narrow:.0f} billion a second. For comparison, the "
        f"longest training whose processor time was counted took {longest:.1f} core-hours."
    )


def core_minutes(name):
    """Processor time of a recipe's recorded runs in minutes, by seed.

    Where it was not counted, the time that passed on all threads: an upper limit. For a run
    on a GPU, what others of the recipe took on a core, or else what it would cost.
    """
    counted, runs = json.loads((RUNS / "processor_time.json").read_text()), summaries(name)
    took = [None if on_gpu(run) else run.get("processor_seconds") or counted.get(name)
            or int(run["device"].split()[0]) * run["seconds"] for run in runs]  # fmt: skip
    known = [seconds for seconds in took if seconds]
    other = mean(known) if known else 3600 * core_hours(name)
    return [(seconds or other) / 60 for seconds in took]


def on_gpu(run):
    """Whether a run's device is a GPU: a processor's name begins with its threads."""
    return not run["device"][0].isdigit()


@plt.style.context("default")  # whatever else has been imported
def ladder(names, target):
    """Accuracy on the test set against the processor time spent until then.

    A line per recorded run, one for the rival, its time shared evenly among the epochs; it
    ends in a triangle where the run was on a GPU. A hollow mark for each published figure:
    what its training took here, or would take, reckoned as in the table.
    """
    matplotlib.rcParams["svg.hashsalt"] = "vitbook"
    figure, ax = plt.subplots(figsize=(7, 5), layout="constrained")
    rival = json.loads(RIVAL.read_text())
    runs = {
        name: [*zip(recorded_runs(name), core_minutes(name), strict=True)] for name in names
    }
    runs["ResNet-20, a CNN"] = [(rival["history"], rival["whole_process_seconds"] / 60)]
    for k, (name, seeds) in enumerate(runs.items()):
        for seed, (run, minutes) in enumerate(seeds):
            seen = [row for row in run if not math.isnan(row["test_accuracy"])]
            spent = [minutes * row["epoch"] / len(run) for row in seen]
            hits = [100 * row["test_accuracy"] for row in seen]
            label = f"{name}, here" if seed == 0 else None
            ax.plot(spent, hits, STYLES[k % 4], color=COLOURS[k % 7], label=label, lw=1.6)
            mark = "^" if "CNN" not in name and on_gpu(summaries(name)[seed]) else "o"
            ax.plot(spent[-1], hits[-1], mark, color=COLOURS[k % 7], ms=5)
    for name in known_recipes():
        recipe = read_recipe(name)
        shares = re.findall(r"([\d.]+)%", recipe.about.get("published", ""))
        if recipe.data == "cifar10" and shares:  # of a corrected one the correction
            spent = [*core_minutes(name)] or [60 * core_hours(name)]
            place, above = (spent[0], float(shares[-1])), 6 if name < "r" else -14
            ax.plot(*place, "o", color="black", mfc="none", ms=6)
            side, aside = ("left", 8) if spent[0] < 300 else ("right", -6)
            ax.annotate(recipe.about["source"].split(",")[0], place, fontsize=9, ha=side,
                        xytext=(aside, above), textcoords="offset points")  # fmt: skip
    ax.plot([], [], "o", color="black", mfc="none", label="as published")
    ax.plot([], [], "^", color="black", label="on a GPU: minutes reckoned", ms=5, ls="none")
    ax.set(
        xscale="log", xlabel="minutes of one core", ylabel="test accuracy in %", ylim=(44, 90)
    )
    ax.set_xticks([1, 3, 10, 30, 100, 300, 1000, 3000, 10_000])
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.minorticks_off()
    ax.grid(alpha=0.3)
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=3)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)


def classes(name):
    """Accuracy per class: mean over the recorded seeds."""
    runs = [run["class_accuracy"] for run in summaries(name) if "class_accuracy" in run]
    if not runs:
        return ""
    means = {kind: mean(run[kind] for run in runs) for kind in runs[0]}
    order = sorted(means, key=means.get)
    return table(["class", "accuracy"], [[kind, f"{means[kind]:.1%}"] for kind in order])


def card(name):
    """Shape, training and accuracy of a recipe's model, as a list."""
    recipe, runs = read_recipe(name), summaries(name)
    c, (count, operations) = recipe.model, size(recipe)
    last = ", ".join(f"{run['test_accuracy_last_epoch']:.2%}" for run in runs)
    took = "; ".join(
        f"{', '.join(f'{one:.0f}' for one in times)} minutes on {device}"
        for device, times in minutes(runs).items()
    )
    lines = [
        f"**Shape**: patches of {c.patch_size} × {c.patch_size}, width {c.dim}, {c.depth} "
        f"blocks, {c.heads} heads, MLP {c.mlp_dim}; {count:,} parameters, "
        f"{operations / 1e6:.0f} MFLOPs for one picture.",
        f"**Training**: recipe `{name}`, {recipe.train.epochs} epochs; seed by seed {took}.",
        f"**Test accuracy at the last epoch**, seed by seed: {last}.",
    ]  # fmt: skip
    return "\n".join(f"- {line}" for line in lines)


def work(changes):
    """Operations of all forward passes of an ablation's training, for one picture."""
    base = yaml.safe_load((ROOT / "vitbook/ablations.yaml").read_text())["base"]
    recipe = read_recipe(base, changes)
    model, train = VisionTransformer(recipe.model).train(), recipe.train
    dropping = TokenDropping(model)
    image = torch.zeros(1, recipe.model.channels, *recipe.model.image_shape)
    passes = []
    for share in (train.keep, 1.0):
        dropping.keep = share
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model(image)
        passes.append(counter.get_total_flops())
    few, whole = passes
    return train.epochs * (train.dropping * few + (1 - train.dropping) * whole)


def ablation_marks():
    """Accuracies in % by row, and the edge: from there on a difference is believed.

    The edge is twice the standard deviation between trainings that differ in the seed
    alone, over all rows; the difference of two means of two seeds scatters as much.
    """
    marks = {
        row: [100 * run["test_accuracy_last_epoch"] for run in runs]
        for row, runs in recorded_ablations().items()
    }
    return marks, 2 * math.sqrt(mean(variance(seeds) for seeds in marks.values()))


def ablation():
    """One row per ablation: accuracy on the held-out images, mean and range over seeds."""
    found, (marks, edge) = recorded_ablations(), ablation_marks()
    base, rows, near = mean(marks["as it is"]), [], []
    for row, seeds in marks.items():
        points = mean(seeds) - base
        change = "" if row == "as it is" else f"{round(points, 1) + 0.0:+.1f}"
        ends = f"{min(seeds):.1f}% to {max(seeds):.1f}%"
        share = work(found[row][0]["changes"]) / work([])
        rows.append([row, f"{mean(seeds):.1f}%", ends, change, f"{share:.2f}"])
        near += [row] * (edge < abs(points) < 2 * edge)
    return table(["one change", "accuracy", "seeds", "points", "work"], rows) + (
        "\n\nWork is that of the whole training, in operations, beside the recipe as it is.\n\n"
        f"Trainings that differ in nothing but the seed scatter by {edge / 2:.2f} points "
        "(standard deviation, over all rows). So does the difference between two means of "
        f"two seeds each. Twice that is the edge, {edge:.2f} points. By luck alone a row lies "
        f"beyond it about once in twenty times, and there are {len(rows) - 1} rows beside the "
        "recipe as it is: expect one or two. So a row inside the edge cannot be told from no "
        "change at all; one between the edge and twice the edge is a hint "
        f"({'; '.join(near)}); luck does not explain one beyond {2 * edge:.1f} points.\n\n"
        "Two things the edge does not show. All rows share the two trainings of the recipe as "
        "it is: if those were lucky, every row looks worse at once. And all are marked on the "
        "same 5,000 pictures. Another 5,000 might shift the differences, and by how much was "
        "not recorded."
    )


@plt.style.context("default")
def ablation_figure(target):
    """A line for each ablation, best first, with a mark for each seed."""
    matplotlib.rcParams["svg.hashsalt"] = "vitbook"
    marks, edge = ablation_marks()
    order = sorted(marks, key=lambda row: mean(marks[row]))
    figure, ax = plt.subplots(figsize=(6.4, 7), layout="constrained")
    base = mean(marks["as it is"])
    ax.axvspan(base - edge, base + edge, color="0.88", label="could be luck")
    for y, row in enumerate(order):
        colour = "black" if row == "as it is" else COLOURS[0]
        ax.plot(marks[row], [y] * len(marks[row]), "o-", color=colour, ms=4.5, lw=1)
        ax.plot(mean(marks[row]), y, "|", color=colour, ms=11)
    ax.set(xlabel="accuracy on 5,000 held-out images in %", ylim=(-0.7, len(order) - 0.3))
    ax.set_yticks(range(len(order)), order)
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, loc="upper left")
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)


def beside():
    """What TinyViT, our recipe and the rival reached, and the processor time of each."""
    rival = json.loads(RIVAL.read_text())
    time = json.loads((RUNS / "processor_time.json").read_text())
    names = ("tinyvit-cifar10", "cifar10-beside-tinyvit")
    reach = [summaries(name)[0]["test_accuracy_last_epoch"] for name in names]
    theirs, ours = (
        f"{time[name] / 60:.0f} minutes and {hits:.1%}"
        for name, hits in zip(names, reach, strict=True)
    )
    return (
        "`cifar10-beside-tinyvit` is this book's recipe cut down to no more time than "
        "TinyViT's ten epochs take. Each ran with one thread of the same kind of core (AMD "
        "EPYC), with other work beside it. So compare the processor time, reading the "
        f"pictures included: {theirs} for TinyViT, {ours} for ours. Model, batch, optimizer, "
        "schedule and augmentation all differ, and there is one seed of each: an example, "
        "which does not say what of all this makes the difference.\n\n"
        "And a CNN beside them: ResNet-20 (He et al. 2016), by `python scripts/rival.py`, with "
        "the same pictures, crops, flips and batches as ours, and AdamW. Nothing was tuned "
        f"for it. It has {rival['parameters'] / 1e6:.2f}M parameters and "
        f"{rival['flops_per_image'] / 1e6:.0f} MFLOPs for one picture. {rival['epochs']} "
        f"epochs took {rival['whole_process_seconds'] / 60:.0f} minutes of processor time, "
        f"and it reached {rival['test_accuracy_last_epoch']:.1%}, with one seed too."
    )


def tried():
    """What was tried on held-out images: a row per recipe, change and length."""
    found, rows = {}, []
    for line in (RUNS / "tried.jsonl").read_text().splitlines():
        run = json.loads(line)
        key = run["recipe"], run["change"], run["epochs"]
        found.setdefault(key, []).append(run["test_accuracy_last_epoch"])
    for (recipe, change, epochs), hits in found.items():
        rows.append([f"`{recipe}`", change, str(epochs), spread(hits), str(len(hits))])
    return table(["recipe", "change", "epochs", "held-out images right", "draws"], rows)


def patches():
    """What mini-vit's patches cost: both ways, draw by draw."""
    lines = map(json.loads, (RUNS / "patches.jsonl").read_text().splitlines())
    hits = {
        (run["position"], run["way"], run["seed"]): run["test_accuracy_last_epoch"]
        for run in lines
    }
    seeds = sorted({seed for *_, seed in hits})
    rows = []
    for place in ("sincos", "learned"):
        for way, words in (
            ("patches", "one square in three colours"),
            ("strips", "three squares of one colour"),
        ):
            found = [hits.get((place, way, seed)) for seed in seeds]
            if not any(found):
                continue
            shown = [f"{hit:.1%}" if hit else "–" for hit in found]
            rows.append([words, place, *shown, f"{mean(filter(None, found)):.1%}"])
    return table(["a token is", "positions", *(f"seed {seed}" for seed in seeds), "mean"], rows)


def steps():
    """Images a second and core of a training step, by processor, precision and attention."""
    ways, rows = [f"{p}, {a}" for p in ("fp32", "bf16") for a in ("fused", "written")], []
    for device, models in json.loads((RUNS / "training_step.json").read_text()).items():
        for model, rates in models.items():
            shown = [f"{rates[way]:.0f} ({rates[way] / rates[ways[0]]:.2f})" for way in ways]
            rows.append([device, f"`{model}`", str(rates["batch"]), *shown, rates["auto"]])
    return table(["processor", "model", "batch", *ways, "`auto` takes"], rows)


def settings(name):
    """A recipe file as it stands, in a code block."""
    text = (ROOT / f"vitbook/recipes/{name}.yaml").read_text()
    yaml.safe_load(text)
    return f"```yaml\n{text.strip()}\n```"


def parts():
    """The parts of the page that are made here, by the name of their mark."""
    done = [name for name in known_recipes() if summaries(name)]
    cifar = [name for name in done if read_recipe(name).data == "cifar10"]
    sourced = [name for name in known_recipes() if read_recipe(name).about]
    others = [name for name in known_recipes() if name in done or [*shorter(name)]]
    made = {
        "published": published(sourced),
        "ours": comparison([name for name in others if name not in sourced]),
        "tried": tried(),
        "patches": patches(),
        "steps": steps(),
        "recipe": settings(OURS),
        "classes": classes(OURS),
        "card": card(OURS),
        "ablations": ablation(),
        "beside": beside(),
        "fine_tuning": fine_tuning.told(),
    }
    return made, cifar


def written(text, made):
    """A page's text with its marked parts replaced, those that are made."""

    def whole(match):
        name = match.group(1)
        if name not in made:  # another script's
            return match.group()
        return f"<!-- {name} -->\n\n{made[name]}\n\n<!-- end of {name} -->"

    return re.sub(r"<!-- (\w+) -->.*?<!-- end of \1 -->", whole, text, flags=re.S)


def main():
    """Write page and figures."""
    made, cifar = parts()
    for page in PAGES:
        page.write_text(written(page.read_text(), made))
    ladder(cifar, FIGURES / "cifar10.svg")
    ablation_figure(FIGURES / "ablations.svg")
    fine_tuning.figure(FIGURES / "fine_tuning.svg")


if __name__ == "__main__":
    main()
