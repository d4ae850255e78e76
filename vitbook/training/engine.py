"""The loop of chapter 5, with what long trainings on many devices need."""

import copy
import logging
import math
import os
import time
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError

import torch
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from vitbook.data import cutmix, mixup, normalize, rand_augment, random_erase
from vitbook.training import parallel
from vitbook.training.loop import BAR, augment, learning_rate, parameter_groups, predict
from vitbook.training.muon import Muon
from vitbook.training.precision import (
    DTYPES,
    Choice,
    attention_layers,
    capability,
    choose,
    computing,
    fast_products,
)
from vitbook.training.whiten import whiten

LOG = logging.getLogger(__name__)
EVERY = 50  # steps between two lines of metrics.jsonl
LONG = 300  # seconds of training from which on compiling, which takes about one minute, pays
AHEAD = 16  # batches whose pictures a GPU varies at once: it minds launches more than pixels
SMALLEST_SCALE = 2.0**-14  # of a float16 loss: below it, no scale will help


class Engine:
    """One training run: its model, its optimizers, and how far it is.

    Args:
        model: a module from images to logits. Token dropping needs a VisionTransformer.
        data: a :class:`vitbook.data.Dataset`, on the device of the model.
        config: an :class:`EngineConfig`.
        folder: where ``last.pt`` is kept; None keeps nothing.
        log: a function that is given every line of metrics, a dictionary.
        filled: names of the parameters that came from ``config.start``.
    """

    def __init__(self, model, data, config, folder=None, log=None, filled=()):
        self.model, self.data, self.config = model, data, config
        self.device = data.train.images.device
        side = min(data.train.images.shape[-2:])
        if config.crop >= side:
            raise ValueError(
                f"crop={config.crop} can move a picture of {side} pixels out of sight; choose "
                f"a crop below {side}"
            )
        self.folder, self.log = folder and Path(folder), log or (lambda line: None)
        if config.whiten and "embeddings.patches.projection.weight" not in filled:
            whiten(model.embeddings.patches, data.train.images)
        self.optimizers = make_optimizers(model, config, filled)
        self.ema = average(model, config.ema) if config.ema else None
        self.dropping = TokenDropping(model) if config.keep < 1 else None
        self.layers, self.choice, self.called = attention_layers(model), None, None
        self.whole = min(config.batch_size, len(data.train.labels))
        self.history, self.seconds, self.processor_seconds = [], 0.0, 0.0
        self.skipped, self.remarks, self.hits = 0, [], 0
        torch.manual_seed(config.seed + 1000 * parallel.rank())

    @property
    def result(self):
        """The model that is evaluated and saved: the average where there is one."""
        return self.ema.module if self.ema else self.model

    def begin(self):
        """Settle how to compute, unless that is done; needed before the first step."""
        if self.called is not None:
            return
        if self.choice is None:
            self.choice = parallel.from_first(self.choose)
        precision, attention, compiled = self.choice
        self.shared, self.called = prepare(self.model, self.device, compiled)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        for optimizer in self.optimizers:
            if isinstance(optimizer, Muon) and precision == "bf16":
                optimizer.dtype = DTYPES[precision]
        if not self.history:
            chosen = {"precision": precision, "attention": attention, "compiled": compiled}
            self.log({"step": 0, "epoch": 0, **chosen})

    def choose(self):
        """The way to compute, timed where the recipe leaves it open; changes nothing here."""
        states, twin = random_states(self.device), copy.deepcopy(self.model)
        images, labels = (part[: self.config.batch_size] for part in self.data.train)
        images, layers = normalize(images), attention_layers(twin)

        def seconds(choice):
            started = time.perf_counter()
            with computing(choice, self.device, layers):
                logits = twin(images).float()
            F.cross_entropy(logits, labels).backward()
            wait(self.device)
            return time.perf_counter() - started

        twin.train()
        choice = choose(self.config, self.device, layers, seconds)
        steps = self.config.epochs * math.ceil(len(self.data.train.labels) / len(labels))
        if self.config.compile == "auto" and can_compile(self.device):
            seconds(choice)
            choice = choice._replace(compiled=steps * seconds(choice) >= LONG)
        set_random_states(states, self.device)
        on = self.config.compile == "on"
        return choice._replace(compiled=True) if on else choice

    def run(self, progress=True, each_epoch=None):
        """Train to the end, from wherever the checkpoint left off.

        Args:
            progress: whether to draw a progress bar.
            each_epoch: called after every epoch, once its checkpoint is written.

        Returns:
            One dictionary per epoch: epoch, loss, train_accuracy (of the images as they
            were varied; of a mixed one, its larger part counts), test_loss and
            test_accuracy (None where they were not due by ``evaluate_every``).
        """
        self.begin()
        bar = tqdm(
            total=self.config.epochs,
            initial=len(self.history),
            disable=not progress or parallel.rank() > 0,
            **BAR,
        )
        with fast_products(self.choice.compiled):
            for epoch in range(len(self.history), self.config.epochs):
                started, busy = time.perf_counter(), time.process_time()
                row = {"epoch": epoch + 1, **self.epoch(epoch, bar), **self.evaluate(epoch + 1)}
                hits = row["test_accuracy"]
                shown = "" if hits is None else f", test {hits:.1%}"
                bar.set_postfix_str(f"loss {row['loss']:.3f}{shown}", refresh=False)
                self.history.append(row)
                self.seconds += time.perf_counter() - started
                self.processor_seconds += time.process_time() - busy
                if self.folder:
                    self.save()
                if each_epoch:
                    each_epoch(self)
        bar.close()
        if self.dropping:
            self.dropping.remove()
        return self.history

    def epoch(self, epoch, bar):
        """One pass over the images in random order; returns mean loss and accuracy."""
        self.model.train()
        self.hits = 0
        count = len(self.data.train.labels)
        order = parallel.same_for_all(torch.randperm(count, device=self.device))
        batches, total = order.split(self.config.batch_size), 0.0
        steps, images = self.config.epochs * len(batches), self.varied(batches, epoch)
        for i, index in enumerate(batches):
            step = epoch * len(batches) + i
            loss, norm, rate = self.step(index, step, steps, next(images))
            total = total + loss * len(index)
            if step % EVERY == 0 or self.device.type == "cpu":  # reading it waits for a GPU
                self.check("loss", loss, epoch, step)
            if step % EVERY == 0:
                line = {"step": step, "epoch": epoch + 1, "loss": loss.item()}
                self.log({**line, "learning_rate": rate, "gradient_norm": norm.item()})
            bar.update(epoch + (i + 1) / len(batches) - bar.n)
        mean = total / count
        self.check("loss", mean, epoch, step)
        if not self.scaler.is_enabled():  # it has moved the weights since
            self.check("gradient's length", norm, epoch, step)
        hits = parallel.mean(self.hits) * parallel.world()
        return {"loss": mean.item(), "train_accuracy": hits.item() / count}

    def varied(self, batches, epoch):
        """This process's images of each batch, varied: strongly, until the clean end begins."""
        ahead = AHEAD if self.device.type == "cuda" else 1
        steps, before = self.config.epochs * len(batches), epoch * len(batches)
        turn = sum((before + i) / steps < 1 - self.config.clean for i in range(len(batches)))
        for some, strong in ((batches[:turn], True), (batches[turn:], False)):
            for first in range(0, len(some), ahead):
                parts = [parallel.share(index)[0] for index in some[first : first + ahead]]
                images = self.data.train.images[torch.cat(parts)]
                yield from vary(images, self.config, strong).split([len(p) for p in parts])

    def step(self, index, step, steps, images=None):
        """One batch; returns its loss, the length of the gradient and the learning rate.

        Its images are varied here, unless they are given so.
        """
        self.begin()
        config, done = self.config, step / steps
        share = set_rates(self.optimizers, config, step, steps)
        if self.dropping:
            self.dropping.keep = config.keep if done < config.dropping else 1.0
        part, weight = parallel.share(index)
        images, labels, partner, lam = self.batch(part, done < 1 - config.clean, images)
        called = self.called if len(index) == self.whole else self.shared
        with computing(self.choice, self.device, self.layers):
            logits = called(images).float()
        likeliest = labels if lam >= 0.5 else labels[partner]
        self.hits = self.hits + (weight > 0) * (logits.argmax(dim=1) == likeliest).sum()
        loss = weight * mixed_loss(logits, labels, partner, lam, config.label_smoothing)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        for optimizer in self.optimizers:
            self.scaler.unscale_(optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        if self.move() and self.ema:
            self.ema.update_parameters(self.model)
        return parallel.mean(loss.detach()), norm, share * config.learning_rate

    def move(self):
        """Let the optimizers move the weights; False where a float16 gradient was no number.

        Such a step is skipped and counted, and the loss is scaled less from then on.

        Raises:
            FloatingPointError: no scale is small enough.
        """
        before = self.scaler.get_scale()
        for optimizer in self.optimizers:
            self.scaler.step(optimizer)
        self.scaler.update()
        moved = self.scaler.get_scale() >= before
        self.skipped += not moved
        if self.scaler.get_scale() < SMALLEST_SCALE:
            raise FloatingPointError(
                f"the scale of the float16 loss fell to {self.scaler.get_scale():g}: the "
                "gradient is no number at any scale. Start afresh in another folder with "
                "precision fp32"
            )
        return moved

    def batch(self, index, strong, images=None):
        """Images, varied and mixed, their labels, their partners and shares."""
        if images is None:
            images = vary(self.data.train.images[index], self.config, strong)
        images, partner, lam = mix(images, self.config, strong)
        return images, self.data.train.labels[index], partner, lam

    def evaluate(self, epochs):
        """Loss and accuracy on the images held out, after so many epochs; None if not due."""
        if epochs % self.config.evaluate_every and epochs != self.config.epochs:
            return {"test_loss": None, "test_accuracy": None}
        images, labels = self.data.test
        logits = predict(self.result, images)
        hits = (logits.argmax(dim=1) == labels).float().mean().item()
        return {"test_loss": F.cross_entropy(logits, labels).item(), "test_accuracy": hits}

    def check(self, name, number, epoch, step):
        """Stop where a number is none, before a checkpoint is made of it."""
        if not math.isfinite(number):
            kept = f"; the checkpoint of epoch {epoch} is kept" if self.history else ""
            raise FloatingPointError(
                f"the {name} is {number:g} in epoch {epoch + 1}, step {step + 1}{kept}. Start "
                "afresh in another folder with a lower learning rate, a longer warm-up, or "
                "precision fp32"
            )

    def settings(self):
        """What must not change between two parts of one training."""
        images, labels = self.data.train
        config = asdict(self.config)
        del config["precision"], config["attention"]  # kept, or asked for otherwise: see resume
        return {
            **config,
            "model": str(getattr(self.model, "config", "")),
            "training images": len(labels),
            "sum of all pixels": images.sum(dtype=torch.int64).item(),
            "classes": [str(name) for name in self.data.classes],
        }

    def state(self):
        """All that training needs to go on."""
        return {
            "settings": self.settings(),
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "ema": self.ema.state_dict() if self.ema else None,
            "device": self.device.type,
            "choice": self.choice._asdict(),
            "scaler": self.scaler.state_dict(),
            "skipped": self.skipped,
            "remarks": self.remarks,
            "history": self.history,
            "seconds": self.seconds,
            "processor_seconds": self.processor_seconds,
            "random": parallel.gather(random_states(self.device)),  # one entry per process
        }

    def save(self):
        """Write ``last.pt``, in one move: there is never half a checkpoint."""
        state = self.state()
        if parallel.rank() == 0:
            write_whole(self.folder / "last.pt", lambda path: torch.save(state, path))

    def resume(self):
        """Go back to where ``last.pt`` was written.

        What was chosen by time there is kept. With another device, precision or attention
        the training goes on as well, no longer bit for bit: that is logged, and remembered
        in ``remarks``.

        Raises:
            ValueError: the file is not a whole checkpoint, or of another model, recipe, data
                or number of processes.
        """
        path = self.folder / "last.pt"
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            dice = state["random"]
            if len(dice) != parallel.world():
                raise KeyError(f"written by {len(dice)} processes, not {parallel.world()}")
            for key, value in self.settings().items():
                if state["settings"].get(key) != value:
                    was = state["settings"].get(key)
                    why = ": every learning rate so far followed it" if key == "epochs" else ""
                    raise ValueError(f"{key} was {was} there, and is {value} now{why}")
            self.model.load_state_dict(state["model"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            if self.ema:
                self.ema.load_state_dict(state["ema"])
            self.history, self.seconds = state["history"], state["seconds"]
            self.processor_seconds = state["processor_seconds"]
            self.skipped, self.remarks = state["skipped"], state["remarks"]
            self.go_on(Choice(**state["choice"]), state["device"], state["scaler"])
        except (RuntimeError, KeyError, TypeError, ValueError, EOFError, OSError,
                UnpicklingError) as error:  # fmt: skip
            raise ValueError(
                f"{path} is not a checkpoint of this training ({error}); resume with the "
                "recipe it was made with, or start afresh in another folder"
            ) from error
        set_random_states(dice[parallel.rank()], self.device, state["device"])

    def go_on(self, kept, device, scaler):
        """Compute as before, but for what is asked for otherwise or another device decides."""
        same = self.device.type == device
        self.choice = kept if same else parallel.from_first(self.choose)
        for name in ("precision", "attention"):
            if getattr(self.config, name) != "auto":
                self.choice = self.choice._replace(**{name: getattr(self.config, name)})
        self.begin()
        if self.choice.precision == kept.precision == "fp16":
            self.scaler.load_state_dict(scaler)
        if not same or self.choice != kept:
            was, now = (f"{d}, {', '.join(c[:2])}" for d, c in
                        ((device, kept), (self.device.type, self.choice)))  # fmt: skip
            epochs = len(self.history)
            self.remarks.append(f"from epoch {epochs + 1} on {now}; {was} before")
            LOG.warning("no longer bit for bit: %s", self.remarks[-1])


def wait(device):
    """Until a device has done all it was asked to; a CPU always has."""
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()


def random_states(device):
    """The states of the generators that a training on this device draws from."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    if device.type == "mps":
        states.append(torch.mps.get_rng_state())
    return states


def set_random_states(states, device, kind=None):
    """Put those generators back to where they were; only the CPU's, if ``kind`` was another."""
    torch.set_rng_state(states[0])
    if kind not in (None, device.type):
        return
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
    if device.type == "mps":
        torch.mps.set_rng_state(states[1])


def make_optimizers(model, config, filled=()):
    """AdamW; with "muon", Muon for the matrices of the blocks and AdamW for the rest.

    What was filled from given weights moves at ``start_rate`` times the learning rate.
    """
    slow = {id(p) for name, p in model.named_parameters() if name in filled}
    for p in model.parameters():
        if id(p) in slow and not config.start_rate:
            p.requires_grad_(False)
    groups = parameter_groups(model, config.weight_decay)
    inner = []
    if config.optimizer == "muon":
        inner = [p for p in model.blocks.parameters() if p.ndim == 2 and p.requires_grad]
        taken = {id(p) for p in inner}
        for group in groups:
            group["params"] = [p for p in group["params"] if id(p) not in taken]
    groups = by_rate(groups, slow, config.start_rate)
    optimizers = [torch.optim.AdamW(groups, fused=True)]
    if inner:
        groups = by_rate([{"params": inner}], slow, config.start_rate)
        optimizers.append(Muon(groups, weight_decay=config.weight_decay))
    return optimizers


def by_rate(groups, slow, rate):
    """Groups of an optimizer, those of slow parameters apart; none is left empty."""
    parted = []
    for group in groups:
        for factor, some in ((1.0, False), (rate, True)):
            params = [p for p in group["params"] if (id(p) in slow) == some]
            parted += [{**group, "params": params, "factor": factor}] if params else []
    return parted


def set_rates(optimizers, config, step, steps):
    """Set every learning rate for this step; returns the share of the peak."""
    share = learning_rate(step, steps, 1.0, config.warmup)
    if config.schedule == "constant":
        share = min(1.0, (step + 1) / max(1, round(config.warmup * steps)))
    for optimizer in optimizers:
        muon = isinstance(optimizer, Muon)
        for group in optimizer.param_groups:
            peak = config.muon_learning_rate if muon else config.learning_rate
            group["lr"] = share * peak * group.get("factor", 1.0)
    return share


def vary(images, config, strong):
    """A new variant of every image: crop, flip, and while ``strong`` RandAugment; uint8."""
    images = augment(images, config)
    if strong and config.rand_augment:
        images = rand_augment(images, *config.rand_augment)
    return images


def mix(images, config, strong):
    """Images as floats; while ``strong``, some lose a rectangle or are mixed with another.

    Returns:
        images, each one's partner (None if nothing was mixed) and the share of the first.
    """
    images = normalize(images)
    if strong and config.erase:
        images = random_erase(images, config.erase)
    ways = [way for way in ((mixup, config.mixup), (cutmix, config.cutmix)) if way[1]]
    if not strong or not ways or torch.rand(()).item() >= config.mix_probability:
        return images, None, 1.0
    way, alpha = ways[int(torch.randint(len(ways), ()).item())]
    return way(images, alpha)


def mixed_loss(logits, labels, partner, lam, smoothing):
    """Cross-entropy; of a mixed image, of both its labels by their shares."""
    loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    if partner is None:
        return loss
    other = F.cross_entropy(logits, labels[partner], label_smoothing=smoothing)
    return lam * loss + (1 - lam) * other


class TokenDropping:
    """Let the encoder see only a random share of the patch tokens while training.

    Hooked behind the embeddings, so that positions are in the tokens already: those
    that stay know where they were (PatchDropout, Liu et al. 2023). A class token stays.
    """

    def __init__(self, model):
        self.keep, self.first = 1.0, int(model.config.pool == "cls")
        self.remove = model.embeddings.register_forward_hook(self).remove

    def __call__(self, module, inputs, tokens):
        if not module.training or self.keep >= 1:
            return tokens
        b, n, d = tokens.shape
        count = max(1, round(self.keep * (n - self.first)))
        dice = torch.rand(b, n - self.first, device=tokens.device)
        stays = dice.argsort(dim=1)[:, :count] + self.first
        stays = F.pad(stays, (self.first, 0))  # token 0 is the class token
        return tokens.gather(1, stays[:, :, None].expand(-1, -1, d))


def average(model, decay):
    """A copy of the model whose weights follow as an exponential moving average."""
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))


def can_compile(device):
    """Whether torch.compile can help: on GPUs that Triton, the compiler's language, knows."""
    return capability(device) >= 7 and find_spec("triton") is not None


def prepare(model, device, compiled):
    """The model shared among processes; and as it is called on whole batches: compiled.

    An epoch's last, smaller batch is not worth a compilation of its own.
    """
    if parallel.world() > 1:
        model = DistributedDataParallel(
            model, device_ids=[device.index] if device.type == "cuda" else None
        )
    # One graph for each shape: a resumed training runs the kernels of one straight through.
    return model, torch.compile(model, dynamic=False) if compiled else model


def write_whole(path, write):
    """Write a file beside its place and move it there: it is whole, or as it was before.

    Raises:
        OSError: it could not be written, on a full disk for one.
    """
    part = path.with_name(path.name + ".part")
    try:
        write(part)
        with open(part, "rb+") as file:  # Windows syncs only what may be written
            os.fsync(file.fileno())  # on the disk, before it takes the old one's name
        os.replace(part, path)
    except (OSError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        raise OSError(
            f"{path} could not be written ({error}); what was there before is whole. Make "
            "room and resume"
        ) from error
