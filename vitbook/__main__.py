"""python -m vitbook train | evaluate | predict | report | recipes."""

import argparse
import json
import sys
from pathlib import Path

import torch

from vitbook import VisionTransformer, data
from vitbook.data import pictures
from vitbook.training import known_recipes, parallel, predict, read_recipe, recorded_runs, runs
from vitbook.training.recipes import fitted, read_data, recipe_for
from vitbook.training.start import fitted_to, read_start, refuse_idle
from vitbook.training.weights import for_predict, load_weights, pretrained_path, read_header


def train(arguments):
    """Train a recipe and record the run."""
    changes = list(arguments.set)
    if arguments.seed is not None:
        changes.append(f"train.seed={arguments.seed}")
    if arguments.start:
        changes.append(f"train.start={json.dumps(arguments.start)}")
    said = [change[5:] for change in changes if change.startswith("data=")]
    source = arguments.data or (said[-1] if said else None)
    recipe = read_recipe(arguments.recipe or recipe_for(source), changes)
    if arguments.data:
        recipe = recipe._replace(data=arguments.data)
    refuse_idle(recipe, changes)
    if recipe.train.start:
        start, _ = read_start(recipe.train.start)
        recipe = recipe._replace(model=fitted_to(recipe.model, start))
    device = parallel.start(arguments.device)
    loaded = data.to_device(parallel.leader_first(lambda: read_data(recipe)), device)
    recipe = recipe._replace(model=fitted(recipe.model, loaded))
    out = Path(arguments.out or f"runs/{recipe.name}/seed{recipe.train.seed}")
    summary = runs.record(
        recipe, lambda: VisionTransformer(recipe.model), loaded, out, arguments.resume
    )
    if summary:
        print(json.dumps(summary, indent=2))


def evaluate(arguments):
    """Print the accuracy of trained weights on a data set, in all and per class."""
    path, header, model = open_weights(arguments.weights)
    device = parallel.start(arguments.device)
    named = arguments.weights if arguments.weights in data.NAMES else None
    source = arguments.data or header.get("data", named)
    if source is None:
        raise ValueError(f"{path} does not say what it was trained on; give it with --data")
    size = None if source in data.BUILT_IN else model.config.image_shape
    loaded = data.load(source, size, need_train=False)
    known = list(header.get("classes", loaded.classes))
    places = check_classes(path, known, source, loaded.classes)
    images, labels = data.to_device(loaded, device).test
    images = pictures.channels(images, model.config.channels)
    labels = torch.tensor(places, device=device)[labels]
    guess = predict(for_predict(model.to(device)), images).argmax(dim=1)
    right = (guess == labels).sum().item()
    print(f"{path}: {right / len(guess):.2%} ({right} of {len(guess)} images of {source})")
    for name, share in runs.class_accuracy(guess, labels, known).items():
        print(f"  {name:<16} {share:.1%}")


def check_classes(path, known, source, found):
    """Where each class of the data stands among those of the weights.

    By name, if the weights know all names. Data that has other names for as many classes
    is taken in order, and that is said.

    Raises:
        ValueError: the data has other classes than the weights were trained for.
    """
    if set(found) <= set(known):
        return [known.index(name) for name in found]
    elsewhere = any(a != b and b in known for a, b in zip(known, found, strict=False))
    if len(known) != len(found) or elsewhere:
        raise ValueError(
            f"{path} tells {len(known)} classes apart ({', '.join(known[:3])}, …), {source} "
            f"has {len(found)} ({', '.join(found[:3])}, …); give the data it was trained for"
        )
    for one, other in zip(known, found, strict=True):
        if one != other:
            print(f"note: what the weights call {one!r}, {source} calls {other!r}")
    return list(range(len(known)))


def classify(arguments):
    """Print the three likeliest classes of each picture."""
    _, header, model = open_weights(arguments.weights)
    config = model.config
    for name in arguments.images:
        image = pictures.picture(name, config.image_shape, config.channels)
        probabilities = predict(for_predict(model), image[None])[0].softmax(dim=0)
        names = header.get("classes", range(config.classes))
        top = probabilities.topk(min(3, config.classes))
        said = [
            f"{names[k]} {p:.0%}" for p, k in zip(*map(torch.Tensor.tolist, top), strict=True)
        ]
        print(f"{name}: {', '.join(said)}")


def open_weights(name):
    """The file, the header and the model of weights given by name or by path."""
    path = file_of(name)
    return path, read_header(path), load_weights(path)


def file_of(name):
    """The file of weights given by name or by path."""
    return name if Path(name).is_file() else pretrained_path(name)


def write_report(arguments):
    """Write a page about a run: curves, confusions, mistakes, settings."""
    from vitbook.report import report  # needs matplotlib

    weights = arguments.weights and file_of(arguments.weights)
    device = parallel.start(arguments.device)
    show = not arguments.no_pictures
    print(report(arguments.run, arguments.out, weights, arguments.data, device, show))


def recipes(arguments):
    """Print a table of the recipes."""
    row = "{:<26} {:<14} {:>10} {:>7}  {:<13} {}"
    print(row.format("recipe", "data", "parameters", "epochs", "recorded", "published"))
    for name in known_recipes():
        recipe = read_recipe(name)
        with torch.device("meta"):
            count = sum(p.numel() for p in VisionTransformer(recipe.model).parameters())
        said = recipe.about.get("published", "")
        epochs = recipe.train.epochs
        print(row.format(name, recipe.data, f"{count:,}", epochs, recorded(name), said))


def recorded(name):
    """The last-epoch accuracies of a recipe's recorded runs, in short."""
    try:
        last = [run[-1]["test_accuracy"] for run in recorded_runs(name)]
    except FileNotFoundError:
        return "–"
    return f"{sum(last) / len(last):.1%} ({len(last)})" if last else "–"


def parse(argv=None):
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m vitbook", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name, function):
        command = commands.add_parser(name, help=function.__doc__, description=function.__doc__)
        command.set_defaults(function=function)
        return command

    command = add("train", train)
    command.add_argument("recipe", nargs="?", help="a name or a YAML file (default: digits, "
                         "or own-pictures with --data FOLDER)")  # fmt: skip
    command.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", action="extend",
                         help="change the recipe: train.epochs=5 model.dim=64")  # fmt: skip
    command.add_argument("--out", help="folder of the run (default: runs/RECIPE/seedK)")
    command.add_argument("--resume", action="store_true", help="go on from its last checkpoint")
    command.add_argument("--from", dest="start", metavar="WEIGHTS",
                         help="start from a name, our file, or a published ViT's")  # fmt: skip
    command.add_argument("--seed", type=int, help="fixes weights, order and augmentation")
    command = add("evaluate", evaluate)
    command.add_argument("weights", help="a name such as cifar10, or a .safetensors file")
    predicts = add("predict", classify)
    predicts.add_argument("images", nargs="+", metavar="IMAGE")
    predicts.add_argument("--weights", default="cifar10", help="a name or a .safetensors file")
    command = add("report", write_report)
    command.add_argument("run", help="folder of a run, or a recorded one: cifar10-cpu/seed0")
    command.add_argument("--out", help="the page (default: report.html in the folder)")
    command.add_argument("--weights", help="a name or a file (default: the run's own)")
    command.add_argument("--no-pictures", action="store_true", help="for a page that travels")
    for name in ("train", "evaluate", "report"):
        command = commands.choices[name]
        command.add_argument("--data", help="a data set's name, or a folder of class folders")
        command.add_argument(
            "--device", default="auto", help="cpu, cuda or mps (default: auto)"
        )
    add("recipes", recipes)
    return parser.parse_args(argv)


def main(argv=None):
    """Run a command; a mistake in the input ends in one line, not in a traceback."""
    for stream in (sys.stdout, sys.stderr):  # a console may not know every letter: ? for it
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    arguments = parse(argv)
    try:
        arguments.function(arguments)
    except KeyboardInterrupt:
        kept = "; --resume goes on from the last finished epoch, if there is one"
        sys.exit(f"stopped{kept if arguments.command == 'train' else ''}")
    except (ValueError, OSError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
    finally:
        parallel.stop()


if __name__ == "__main__":
    main()
