"""Runs: one folder per training, with all that is needed to believe it."""

import csv
import json
import logging
import math
import os
import platform
import re
import subprocess
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from vitbook.locks import locked
from vitbook.training import parallel
from vitbook.training.engine import Engine, write_whole
from vitbook.training.loop import accuracy, predict
from vitbook.training.start import read_start, take_over, told
from vitbook.training.weights import save_weights
from vitbook.version import __version__

LOG = logging.getLogger(__name__)


class Record:
    """The folder of a run: config.yaml, history.csv, metrics.jsonl, summary.json, weights.

    Args:
        folder: it must be there.
        recipe: a :class:`vitbook.training.Recipe`.
        data: the :class:`vitbook.data.Dataset` that is trained on.
    """

    def __init__(self, folder, recipe, data):
        self.folder, self.recipe, self.data = Path(folder), recipe, data
        self.board, self.commit = tensorboard(self.folder), commit()

    def begin(self):
        """Write the configuration."""
        import yaml

        recipe = self.recipe._asdict()
        config = {
            **recipe.pop("about"),
            **recipe,
            "model": asdict(self.recipe.model),
            "train": plain(asdict(self.recipe.train)),
        }
        text = yaml.safe_dump(plain(config), sort_keys=False)
        write_whole(self.folder / "config.yaml", lambda path: path.write_text(text))

    def keep(self, history):
        """Keep only the lines of metrics of finished epochs: the others come again."""
        path = self.folder / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() and history else []
        kept = [line for line in lines if epoch_of(line) <= len(history)]
        write_whole(path, lambda part: part.write_text("".join(f"{line}\n" for line in kept)))

    def log(self, line):
        """Add a line to metrics.jsonl, and to TensorBoard."""
        with open(self.folder / "metrics.jsonl", "a") as file:
            file.write(json.dumps({k: rounded(v) for k, v in line.items()}) + "\n")
        if self.board:
            for key in ("loss", "learning_rate", "gradient_norm"):
                if key in line:
                    self.board.add_scalar(key, line[key], line["step"])

    def epoch(self, engine):
        """Write history.csv, and the weights if this epoch was the best so far."""
        history = engine.history
        write_whole(self.folder / "history.csv", lambda path: write_csv(path, history))
        if self.board:
            hits = history[-1]["test_accuracy"]
            if hits is not None:
                self.board.add_scalar("test_accuracy", hits, len(history))
        if best(history) == len(history) - 1:
            self.weights("best", engine.result)

    def weights(self, name, model):
        """Write a model's weights, with what has to be known to use them."""
        header = {"data": self.recipe.data, "classes": list(self.data.classes)}
        path = self.folder / f"{name}.safetensors"
        write_whole(path, lambda part: save_weights(part, model, **header))

    def finish(self, engine):
        """Write summary.json and the final weights; returns the summary."""
        self.weights(self.recipe.name, engine.result)
        history, test = engine.history, self.data.test
        raw = {}
        if engine.ema:  # over few steps an average still holds the weights of the start
            raw["test_accuracy_raw_weights"] = accuracy(engine.model, test)
        guess = predict(engine.result, test.images).argmax(dim=1)
        summary = {
            "test_accuracy_last_epoch": history[-1]["test_accuracy"],
            **raw,
            "test_accuracy_best_epoch": history[best(history)]["test_accuracy"],
            "best_epoch": best(history) + 1,
            "held_out_is": self.data.held_out_is,
            "held_out_images": len(test.labels),
            "training_images": len(self.data.train.labels),
            "notes": list(self.data.notes),  # of what was left out of a folder
            "class_accuracy": class_accuracy(guess, test.labels, self.data.classes),
            "parameters": sum(p.numel() for p in engine.model.parameters()),
            "flops_per_image": flops(engine.result, test.images[:1]),
            "epochs": len(history),
            **engine.choice._asdict(),
            "skipped_steps": engine.skipped,  # float16 alone skips any
            "remarks": engine.remarks,
            "seconds": round(engine.seconds),
            "processor_seconds": round(engine.processor_seconds, 1),  # of all threads
            "device": device_name(engine.device),
            "versions": {
                "vitbook": __version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
            "commit": self.commit,
        }
        text = json.dumps(summary, indent=2) + "\n"
        write_whole(self.folder / "summary.json", lambda path: path.write_text(text))
        return summary


def record(recipe, make_model, data, folder, resume=False, progress=True):
    """Train a recipe and write its record into a folder.

    Args:
        recipe: a :class:`vitbook.training.Recipe`.
        make_model: a function that builds the model, called once the seed is set.
        data: the data set, on the device to train on.
        folder: where the record goes.
        resume: go on from ``last.pt`` in that folder; from the start, if the run there was
            stopped in its first epoch.
        progress: whether to draw a progress bar.

    Returns:
        The summary; None in all processes but the first.

    Raises:
        FileExistsError: the folder holds a run, and ``resume`` is off; or another process
            trains into it.
        FileNotFoundError: there is nothing to resume.
    """
    folder = Path(folder)
    if (folder / "last.pt").exists() and not resume:
        raise FileExistsError(
            f"{folder} holds a run already; go on with it by --resume, or choose another --out"
        )
    torch.manual_seed(recipe.train.seed)
    model, filled = make_model(), ()
    if recipe.train.start:
        start, known = read_start(recipe.train.start)
        filled = take_over(model, start, known, data.classes)
    model = model.to(data.train.images.device)
    if parallel.rank() > 0:
        engine = Engine(model, data, recipe.train, folder, filled=filled)
        if resume and (folder / "last.pt").exists():
            engine.resume()
        engine.run()
        return None
    if resume:
        check_begun(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        notes = Record(folder, recipe, data)
        engine = Engine(model, data, recipe.train, folder, notes.log, filled)
        if recipe.train.start:
            new = [name for name, _ in model.named_parameters() if name not in filled]
            engine.remarks.append(told(recipe.train.start, start, known, data.classes, new))
            if not (folder / "last.pt").exists():
                LOG.warning("%s", engine.remarks[-1])
        if resume and (folder / "last.pt").exists():
            engine.resume()
        notes.begin()
        notes.keep(engine.history)
        if engine.history:  # killed after last.pt was written, but before the rest was?
            notes.epoch(engine)
        engine.run(progress, notes.epoch)
        return notes.finish(engine)


def check_begun(folder):
    """Refuse a folder in which no training has begun: its name may be mistyped.

    A folder that is empty is taken: a run may have been stopped right after making it.
    """
    if not folder.is_dir():
        found = "does not exist"
    elif any(folder.iterdir()) and not (folder / "config.yaml").exists():
        found = "holds other things, and no run"
    else:
        return
    raise FileNotFoundError(
        f"there is nothing to resume: {folder} {found}. Check --out, or leave --resume away to "
        "begin a new run"
    )


@contextmanager
def alone(folder):
    """Inside, no other process trains into the folder.

    Raises:
        FileExistsError: another process is inside.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder, wait=False))
        except BlockingIOError as error:
            raise FileExistsError(
                f"another process trains into {folder} at this moment; wait for its end, stop "
                "it, or choose another --out"
            ) from error
        yield


def epoch_of(line):
    """The epoch of a line of metrics; infinite for one that was cut short by a kill."""
    try:
        return json.loads(line)["epoch"]
    except ValueError:
        return math.inf


def tensorboard(folder):
    """A TensorBoard writer, where TensorBoard is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(folder / "tensorboard")


def write_csv(path, history):
    """A history as CSV: one row per epoch."""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, history[0])
        writer.writeheader()
        writer.writerows({k: rounded(v) for k, v in row.items()} for row in history)


def rounded(value):
    """A number with six significant digits: enough to plot, and the same on every machine."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def plain(values):
    """Dictionaries with lists for tuples, as YAML wants them."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def best(history):
    """The index of the epoch with the highest accuracy; for reference, never for choosing."""
    return max(range(len(history)), key=lambda i: history[i]["test_accuracy"] or -1.0)


def class_accuracy(guess, labels, classes):
    """Share of right answers among the images of each class."""
    return {
        str(name): rounded((guess[labels == k] == k).float().mean().item())
        for k, name in enumerate(classes)
        if (labels == k).any()
    }


def flops(model, image):
    """Floating-point operations of one forward pass for one image; a multiply-add is two."""
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:  # the counter does not see into fused ones
        predict(model, image)
    return counter.get_total_flops()


def device_name(device):
    """The device in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        text = info.read_text()
        named = re.search(r"^model name\s*:\s*(.+)$", text, re.M)
        name = named[1] if named else name
        name += ", AMX" * ("amx_bf16" in text)  # matrix units, which bfloat16 gains by
    threads = torch.get_num_threads()
    return f"{threads} thread{'s' * (threads > 1)} of {os.cpu_count()} CPU cores ({name})"


@cache
def commit():
    """The commit of the source, when vitbook is run from its repository; else None.

    Installed inside of another repository, it is no file of that one. Looked up once: a
    process goes on with the code that it has loaded.
    """
    own = Path(__file__).resolve()
    git = ["git", "-C", str(own.parent)]
    try:
        for command in (["ls-files", "--error-unmatch", own.name], ["rev-parse", "HEAD"]):
            found = subprocess.run([*git, *command], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def recorded_runs(recipe):
    """The histories of a recipe's recorded runs, one list of epochs per seed.

    Each epoch is a dictionary of numbers, as :func:`vitbook.training.train` returns it;
    nan is an accuracy that was not looked at.
    """
    folders = (files("vitbook") / "runs" / recipe).iterdir()  # others hold shorter runs
    runs = sorted((f for f in folders if f.name.startswith("seed")), key=lambda f: f.name)
    histories = []
    for run in runs:
        rows = csv.DictReader((run / "history.csv").read_text("utf-8").splitlines())
        histories.append([{k: float(v or "nan") for k, v in row.items()} for row in rows])
    return histories


def recorded_ablations():
    """The recorded ablations: {row: [run, …]}, one run per seed, the rows in their order.

    A row is left out until it has two seeds. Each run is a dictionary: row, changes, seed,
    losses, test_accuracy_last_epoch (on images held out of the training set),
    flops_per_image, seconds, device, versions, commit.
    """
    import yaml

    package = files("vitbook")
    rows = yaml.safe_load((package / "ablations.yaml").read_text("utf-8"))["rows"]
    lines = (package / "runs" / "ablations.jsonl").read_text("utf-8").splitlines()
    runs = sorted(map(json.loads, lines), key=lambda run: run["seed"])
    found = {row: [run for run in runs if run["row"] == row] for row in rows}
    return {row: seeds for row, seeds in found.items() if len(seeds) > 1}
