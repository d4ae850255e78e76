"""The engine: equal to chapter 5's loop, resumable at any instant, and refusing bad input."""

import fcntl
import math
import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from torch.testing import assert_close

from vitbook import PatchEmbedding, VisionTransformer, data, preset, training
from vitbook.training import EngineConfig, TrainConfig, parallel, runs
from vitbook.training.engine import (
    Engine,
    TokenDropping,
    mix,
    mixed_loss,
    prepare,
    random_states,
    set_random_states,
    set_rates,
    vary,
    write_whole,
)
from vitbook.training.muon import Muon, orthogonal
from vitbook.training.runs import alone, best, check_begun, commit, record
from vitbook.training.whiten import whiten

PLAIN = {"precision": "fp32", "attention": "fused"}  # as chapter 5; nothing left to a clock
EVERYTHING = EngineConfig(
    **PLAIN, epochs=3, crop=1, flip=True, rand_augment=(2, 9), erase=0.25, mixup=0.8,
    cutmix=1.0, clean=0.3, keep=0.5, dropping=0.5, ema=0.9, optimizer="muon",
)  # fmt: skip


@pytest.fixture(scope="module")
def few():
    digits = data.load("digits")
    parts = [data.Split(*(x[:100] for x in part)) for part in (digits.train, digits.test)]
    return data.Dataset("few", digits.classes, *parts)


def fresh(seed=0, **changes):
    torch.manual_seed(seed)
    return VisionTransformer(preset("digits", depth=2, **changes))


def equal(one, two):
    pairs = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_plain_settings_give_the_chapters_loop(few):
    taught, engine = fresh(dropout=0.1), fresh(dropout=0.1)
    history = training.train(taught, few, TrainConfig(epochs=2), progress=False)
    ours = Engine(engine, few, EngineConfig(**PLAIN, epochs=2)).run(progress=False)
    assert equal(taught, engine)
    assert [row["test_accuracy"] for row in ours] == [row["test_accuracy"] for row in history]
    assert_close([row["loss"] for row in ours], [row["loss"] for row in history])


@pytest.mark.parametrize(
    "pool, precision, attention",
    [
        ("mean", "fp32", "fused"),
        ("cls", "fp32", "fused"),
        ("cls", "bf16", "written"),
        ("mean", "fp16", "written"),
    ],
)
def test_a_resumed_run_ends_bit_for_bit_the_same(few, tmp_path, pool, precision, attention):
    everything = replace(EVERYTHING, precision=precision, attention=attention)
    straight = loud(Engine(fresh(dropout=0.1, pool=pool), few, everything))
    history = straight.run(progress=False)

    def stop(engine):
        if len(engine.history) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loud(Engine(fresh(dropout=0.1, pool=pool), few, everything, tmp_path)).run(False, stop)
    other = Engine(fresh(9, dropout=0.1, pool=pool), few, everything, tmp_path)
    other.resume()
    seconds, busy = other.seconds, other.processor_seconds
    assert seconds > 0 and busy > 0
    assert other.run(progress=False) == history
    assert other.seconds > seconds and other.processor_seconds > busy
    assert equal(straight.model, other.model) and equal(straight.result, other.result)
    assert straight.skipped == other.skipped and (straight.skipped > 0) == (precision == "fp16")
    assert straight.scaler.get_scale() == other.scaler.get_scale()
    assert not list(tmp_path.glob("*.part"))


def loud(engine):
    """Begin with a scale at which some float16 gradients overflow: steps will be skipped."""
    engine.begin()
    if engine.scaler.is_enabled():
        engine.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**22)
    return engine


def start(out, precision, *more):
    command = [sys.executable, "-m", "vitbook", "train", "--seed", "4", "--out", str(out)]
    settings = [
        "train.epochs=25",
        "model.depth=1",
        "images=300",
        "train.mixup=0.5",
        "train.ema=.9",
        f"train.precision={precision}",
        "train.attention=written",
    ]
    return subprocess.Popen(
        [*command, *more, "--set", *settings],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def written(path):
    return path.stat().st_mtime_ns if path.exists() else None


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_killed_at_any_instant_it_ends_the_same(tmp_path, precision):
    whole = start(tmp_path / "whole", precision)
    assert whole.wait(300) == 0, whole.stderr.read()
    killed, dice = tmp_path / "killed", random.Random(0)
    killed.mkdir()  # --resume refuses a folder that is not there
    for _ in range(3):
        before = written(killed / "metrics.jsonl")
        run = start(killed, precision, "--resume")
        waited = time.monotonic()
        while written(killed / "metrics.jsonl") == before:  # imports take seconds
            assert time.monotonic() - waited < 120 and run.poll() is None
            time.sleep(0.02)
        time.sleep(dice.uniform(0.0, 0.3))
        assert run.poll() is None, "killed in the midst of training"
        run.send_signal(signal.SIGKILL)
        run.wait()
        with open(killed / "metrics.jsonl", "a") as file:
            file.write('{"step": 9')  # as if killed while writing
    last = start(killed, precision, "--resume")
    assert last.wait(300) == 0, last.stderr.read()
    for name in ("digits.safetensors", "best.safetensors"):
        one, two = (training.load_weights(p / name) for p in (killed, tmp_path / "whole"))
        assert equal(one, two), name
    for name in ("history.csv", "metrics.jsonl"):
        assert (killed / name).read_text() == (tmp_path / "whole" / name).read_text(), name


def brighter(dataset):
    """The data set with one pixel changed."""
    images, labels = dataset.train
    images = images.clone()
    images[0, 0, 0, 0] += 1
    return dataset._replace(train=data.Split(images, labels))


class Evil:
    def __reduce__(self):
        return (open, ("executed", "w"))


def test_bad_checkpoints_are_refused(few, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = EngineConfig(epochs=1)
    Engine(fresh(), few, config, tmp_path).run(progress=False)
    path = tmp_path / "last.pt"
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", pickle.dumps(Evil())):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"last\.pt is not a checkpoint of this training"):
            Engine(fresh(), few, config, tmp_path).resume()
    assert not (tmp_path / "executed").exists()
    path.write_bytes(whole)
    for model, other in (
        (fresh(mlp_dim=32), config),
        (fresh(), replace(config, optimizer="muon")),
        (fresh(), replace(config, ema=0.9)),
    ):
        with pytest.raises(ValueError, match="not a checkpoint of this training"):
            Engine(model, few, other, tmp_path).resume()
    with pytest.raises(ValueError, match="model was .*heads=4.* there, and is .*heads=2"):
        Engine(fresh(heads=2), few, config, tmp_path).resume()  # its weights would fit
    before = fresh()
    for changed, name in (
        (Engine(before, few, replace(config, learning_rate=0.1), tmp_path), "learning_rate"),
        (Engine(before, few, replace(config, epochs=2), tmp_path), "epochs"),
        (Engine(before, data.first(few, 90), config, tmp_path), "training images"),
        (Engine(before, brighter(few), config, tmp_path), "sum of all pixels"),
        (Engine(before, few._replace(classes=list("abcdefghij")), config, tmp_path), "classes"),
    ):
        with pytest.raises(ValueError, match=f"{name} was .* there, and is .* now"):
            changed.resume()
        assert equal(before, fresh()), "nothing was loaded"
    state = torch.load(path, weights_only=True)
    del state["processor_seconds"]  # as an older version wrote it
    torch.save(state, path)
    with pytest.raises(ValueError, match="not a checkpoint of this training"):
        Engine(fresh(), few, config, tmp_path).resume()


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(few, tmp_path):
    config = EngineConfig(epochs=3)
    engine = Engine(fresh(), few, config, tmp_path)

    def spoil(engine):
        if len(engine.history) == 1:
            engine.model.head.bias.data.fill_(math.nan)

    with pytest.raises(
        FloatingPointError, match=r"loss is nan in epoch 2, step 3; the checkpoint of epoch 1"
    ):
        engine.run(False, spoil)
    again = Engine(fresh(5), few, config, tmp_path)
    again.resume()
    assert len(again.history) == 1 and again.model.head.bias.isfinite().all()
    assert len(again.run(progress=False)) == 3


def test_the_last_step_of_an_epoch_is_checked_after_it_moved_the_weights(few, tmp_path):
    """The loss is that of before the step: it is finite still."""
    engine = Engine(fresh(), few, EngineConfig(epochs=3, batch_size=100), tmp_path)

    def spoil(engine):
        engine.model.head.weight.register_hook(lambda gradient: gradient * math.inf)

    with pytest.raises(
        FloatingPointError,
        match=r"gradient's length is (inf|nan) in epoch 2, step 2; the checkpoint of epoch 1 .*"
        "Start afresh in another folder",
    ):
        engine.run(False, spoil)
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    assert all(value.isfinite().all() for value in state["model"].values())


def test_a_full_disk_leaves_the_last_checkpoint(few, tmp_path):
    """A limit on the size of files stands for the full disk: writing fails half way."""
    engine = Engine(fresh(), few, EngineConfig(epochs=1), tmp_path)
    engine.run(progress=False)
    before = (tmp_path / "last.pt").read_bytes()
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
        with pytest.raises(OSError, match=r"last\.pt could not be written .* Make room"):
            engine.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert (tmp_path / "last.pt").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_write_whole_replaces_in_one_move(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_text("old")
    seen = []

    def write(part):
        part.write_text("new")
        seen.append(path.read_text())

    def synced(number):
        assert fcntl.fcntl(number, fcntl.F_GETFL) & os.O_RDWR, "Windows asks for that"
        seen.append((Path(f"/dev/fd/{number}").read_text(), path.read_text()))

    monkeypatch.setattr(os, "fsync", synced)
    write_whole(path, write)
    assert path.read_text() == "new"
    assert seen == ["old", ("new", "old")], "on the disk before it takes the old one's name"


PARALLEL = """
import sys, time, torch
from pathlib import Path
from vitbook import VisionTransformer, data, preset
from vitbook.training import EngineConfig, parallel
from vitbook.training.engine import Engine
device = parallel.start("cpu")

def made():  # the first process takes its time; the others are called when it is done
    if parallel.rank() == 0:
        time.sleep(1)
        Path(sys.argv[1]).touch()
    assert Path(sys.argv[1]).exists()
    return True

assert parallel.leader_first(made)
digits = data.first(data.load("digits"), 130)
torch.manual_seed(0)
model = VisionTransformer(preset("digits", depth=1))
plain = {"precision": "fp32", "attention": "fused"}
config = EngineConfig(epochs=1, crop=0, batch_size=65, clip=float("inf"))
engine = Engine(model, digits, config)
index = torch.arange(65)  # an odd number: the parts differ in size
engine.model.train()
loss, _, _ = engine.step(index, 0, 2)
if parallel.rank() == 0:
    found = {k: p.grad for k, p in model.named_parameters() if p.requires_grad}
    torch.save({**found, "the loss": loss}, sys.argv[1])

def make(folder):
    torch.manual_seed(0)
    model = VisionTransformer(preset("digits", depth=1, dropout=0.1))
    config = EngineConfig(epochs=3, batch_size=65, mixup=0.5, **plain)
    return Engine(model, digits, config, folder)

def stop(engine):
    if len(engine.history) == 2:
        raise KeyboardInterrupt

folder = Path(sys.argv[1] + " stopped")
folder.mkdir(exist_ok=True)
straight = make(None)
straight.run(False)
try:
    make(folder).run(False, stop)
except KeyboardInterrupt:
    parallel.gather("until the first process has written")
resumed = make(folder)
resumed.resume()
resumed.run(False)
pairs = zip(straight.model.parameters(), resumed.model.parameters(), strict=True)
same = all(torch.equal(a, b) for a, b in pairs) and straight.history == resumed.history
print(f"rank {parallel.rank()} of {parallel.world()}, resumed the same: {same}")
parallel.stop()
"""


def test_two_processes_have_gradient_and_loss_of_the_joined_batch_and_resume(tmp_path):
    script = tmp_path / "step.py"
    script.write_text(PARALLEL)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for name, prefix in (("one", []), ("two", torchrun)):
        command = [sys.executable, *prefix, str(script), str(tmp_path / name)]
        run = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr[-3000:]
        world = 1 if name == "one" else 2
        for rank in range(world):
            assert f"rank {rank} of {world}, resumed the same: True" in run.stdout
    one, two = (torch.load(tmp_path / name, weights_only=True) for name in ("one", "two"))
    assert one.keys() == two.keys() and len(one) > 10
    for name in one:
        assert_close(one[name], two[name], msg=lambda text, name=name: f"{name}: {text}")


def test_torchrun_trains_a_recipe_and_finds_it_done(tmp_path):
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    ours = ["-m", "vitbook", "train", "--out", str(tmp_path), "--resume", "--set"]
    command = [sys.executable, *torchrun, *ours, "images=128", "model.depth=1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for _ in range(2):  # the second finds everything done
        run = subprocess.run(
            [*command, "train.epochs=2"],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr[-3000:]
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 3
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    assert len(state["random"]) == 2
    with pytest.raises(ValueError, match="written by 2 processes, not 1"):
        recipe = training.read_recipe("digits")
        model = VisionTransformer(replace(recipe.model, depth=1))
        Engine(model, data.load("digits"), recipe.train, tmp_path).resume()


def test_share_of_a_batch(monkeypatch):
    monkeypatch.setattr(parallel, "world", lambda: 3)
    whole, weights = [], 0.0
    for rank in range(3):
        monkeypatch.setattr(parallel, "rank", lambda rank=rank: rank)
        part, weight = parallel.share(torch.arange(7))
        whole += part.tolist()
        weights += weight
        assert weight == pytest.approx(len(part) * 3 / 7)
        part, weight = parallel.share(torch.arange(2))
        assert len(part) == 1 and weight == (1.5 if rank < 2 else 0.0)
    assert whole == list(range(7)) and weights == pytest.approx(3)


def test_muon_is_torchs_muon(few):
    """Singular values near one, and torch's own update up to its bfloat16."""
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon")
    torch.manual_seed(0)
    start = [torch.randn(24, 8), torch.randn(24, 8), torch.randn(8, 16)]
    grads = [[torch.randn_like(p) for p in start] for _ in range(3)]
    ends = []
    for make in (Muon, torch.optim.Muon):
        matrices = [p.clone().requires_grad_() for p in start]
        optimizer = make(matrices, lr=0.02, weight_decay=0.1)
        for step in grads:
            for p, g in zip(matrices, step, strict=True):
                p.grad = g.clone()
            optimizer.step()
        ends.append(matrices)
    for ours, theirs, p in zip(*ends, start, strict=True):
        assert_close(ours - p, theirs - p, atol=2e-3, rtol=0.05)
    assert (orthogonal(torch.randn(3, 10, 30)).svd().S - 1).abs().max() < 0.5
    with pytest.raises(ValueError, match=r"matrices only, got shape \(3,\)"):
        Muon([torch.zeros(3, requires_grad=True)])


def test_muon_takes_the_blocks_matrices_and_adamw_the_rest():
    model = fresh(position="learned")
    adamw, muon = Engine.__init__.__globals__["make_optimizers"](model, EVERYTHING)
    inside = {id(p) for group in muon.param_groups for p in group["params"]}
    assert inside == {id(p) for p in model.blocks.parameters() if p.ndim == 2}
    rest = [id(p) for group in adamw.param_groups for p in group["params"]]
    assert len(rest) == len(set(rest)) and not inside & set(rest)
    assert inside | set(rest) == {id(p) for p in model.parameters()}
    share = set_rates([adamw, muon], EVERYTHING, 0, 100)
    assert share == pytest.approx(0.1)
    assert muon.param_groups[0]["lr"] == pytest.approx(share * 0.02)
    assert adamw.param_groups[0]["lr"] == pytest.approx(share * 4e-3)


def test_schedules():
    cosine, constant = EngineConfig(), EngineConfig(schedule="constant")
    assert [set_rates([], constant, s, 100) for s in (0, 4, 9, 50, 99)] == [0.1, 0.5, 1, 1, 1]
    assert set_rates([], cosine, 99, 100) < 0.001


def test_dropped_tokens_keep_their_positions_and_the_class_token():
    model = fresh(pool="cls")
    dropping = TokenDropping(model)
    images = torch.randn(3, 1, 8, 8)
    whole = model.embeddings(images)
    dropping.keep = 0.25
    some = model.embeddings(images)
    assert some.shape == (3, 1 + 4, 48)
    assert torch.equal(some[:, 0], whole[:, 0])
    for image in range(3):
        places = [(whole[image] == token).all(dim=1).nonzero().item() for token in some[image]]
        assert len(set(places)) == 5 and places[0] == 0
    assert model(images).shape == (3, 10)
    assert model.eval().embeddings(images).shape == (3, 17, 48)


def test_ema_is_the_average_of_the_weights(few):
    engine = Engine(fresh(), few, EngineConfig(epochs=1, ema=0.5))
    weights, step = [], engine.step

    def watched(*arguments):
        result = step(*arguments)
        weights.append(engine.model.head.weight.detach().clone())
        return result

    engine.step = watched
    engine.run(progress=False)
    expected = weights[0]
    for later in weights[1:]:
        expected = 0.5 * expected + 0.5 * later
    assert len(weights) == 2
    assert_close(engine.result.head.weight, expected)


def test_whitened_patches_are_uncorrelated(few):
    photographs = torch.stack([data.photograph(name, 128) for name in data.PHOTOGRAPHS])
    torch.manual_seed(0)
    embedding = PatchEmbedding(4, 3, 64)
    rest = embedding.projection.weight[48:].clone()
    whiten(embedding, photographs, scale=1.0, floor=1e-9)
    tokens = embedding(data.normalize(photographs)).flatten(0, 1)[:, :48]
    assert_close(tokens.T.cov(), torch.eye(48), atol=0.02, rtol=0)
    assert_close(tokens.mean(dim=0), torch.zeros(48), atol=0.01, rtol=0)
    assert torch.equal(embedding.projection.weight[48:], rest)
    with pytest.raises(ValueError, match="dim of at least 48.*got dim=32"):
        whiten(PatchEmbedding(4, 3, 32), photographs)
    engine = Engine(fresh(), few, EngineConfig(whiten=True))
    plain = Engine(fresh(), few, EngineConfig())
    first = [e.model.embeddings.patches.projection.weight for e in (engine, plain)]
    assert not torch.equal(first[0][:4], first[1][:4]) and torch.equal(
        first[0][4:], first[1][4:]
    )


def test_mixed_loss_is_the_loss_of_soft_labels():
    logits, labels = torch.randn(4, 10), torch.tensor([1, 2, 3, 4])
    partner, lam = torch.tensor([1, 0, 3, 2]), 0.3
    one_hot = torch.nn.functional.one_hot(labels, 10).float()
    soft = lam * one_hot + (1 - lam) * one_hot[partner]
    expected = torch.nn.functional.cross_entropy(logits, soft, label_smoothing=0.1)
    assert_close(mixed_loss(logits, labels, partner, lam, 0.1), expected)


def test_the_clean_end_is_clean(few):
    images = few.train.images
    config = replace(EVERYTHING, crop=0, flip=False)
    assert torch.equal(vary(images, config, strong=False), images)
    assert not torch.equal(vary(images, config, strong=True), images)
    clean, partner, lam = mix(images, config, strong=False)
    assert torch.equal(clean, data.normalize(images)) and partner is None and lam == 1
    strong, partner, lam = mix(images, config, strong=True)
    assert not torch.equal(strong, clean) and sorted(partner.tolist()) == list(range(100))


def test_held_out_images_are_looked_at_when_due(few):
    history = Engine(fresh(), few, EngineConfig(epochs=3, evaluate_every=2)).run(False)
    assert [row["test_accuracy"] is None for row in history] == [True, False, False]
    assert best(history) in (1, 2)


def test_dropping_and_strong_changes_end_when_the_recipe_says(few):
    config = replace(EVERYTHING, epochs=5, batch_size=50, dropping=0.4, clean=0.3)
    engine, seen = Engine(fresh(), few, config), []
    batch = engine.batch

    def watched(index, strong, images):
        seen.append((engine.dropping.keep, strong))
        return batch(index, strong, images)

    engine.batch = watched
    engine.run(progress=False)
    assert [keep for keep, _ in seen] == [0.5] * 4 + [1.0] * 6
    assert [strong for _, strong in seen] == [True] * 7 + [False] * 3


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_images_are_varied_before_their_batch_and_stay_its_own(few, kind, monkeypatch):
    config = EngineConfig(
        **PLAIN, epochs=1, batch_size=3, crop=0, rand_augment=(1, 9), clean=0.5
    )
    engine, calls = Engine(fresh(), few, config), []
    monkeypatch.setattr(
        "vitbook.training.engine.rand_augment", lambda x, *_: calls.append(len(x)) or 255 - x
    )
    engine.device = torch.device(kind)
    batches = torch.randperm(100).split(3)
    found = list(engine.varied(batches, 0))
    for i, (index, images) in enumerate(zip(batches, found, strict=True)):
        plain = few.train.images[index]
        assert torch.equal(images, 255 - plain if i < 17 else plain)  # of 34
    assert calls == ([48, 3] if kind == "cuda" else [3] * 17)


def test_the_last_smaller_batch_is_not_compiled(few):
    engine, seen = Engine(fresh(), few, EngineConfig(**PLAIN, epochs=1, batch_size=30)), []
    engine.begin()
    for name in ("shared", "called"):
        setattr(
            engine, name, lambda x, name=name: seen.append((name, len(x))) or engine.model(x)
        )
    engine.run(progress=False)
    assert seen == [("called", 30)] * 3 + [("shared", 10)]


def test_a_small_batch_does_not_change_the_kernels_of_those_after_it(few, monkeypatch):
    graphs, used = [], []

    def backend(graph, inputs):
        number = len(graphs)
        graphs.append(graph)

        def call(*arguments):
            used.append(number)
            return graph.forward(*arguments)

        return call

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda m, **k: compile_(m, backend=backend, **k))
    try:
        _, model = prepare(fresh(), torch.device("cpu"), compiled=True)
        for count in (64, 64, 29, 64, 29, 64):
            model(torch.zeros(count, 1, 8, 8))
    finally:
        torch.set_float32_matmul_precision("highest")
        torch._dynamo.reset()
    assert used == [0, 0, 1, 0, 1, 0]


def test_the_dice_of_a_gpu_are_kept(monkeypatch):
    for kind in ("cuda", "mps"):
        state, device = {"now": torch.tensor([1, 2])}, torch.device(kind)
        module = getattr(torch, kind)
        monkeypatch.setattr(module, "get_rng_state", lambda *device, s=state: s["now"])
        monkeypatch.setattr(
            module, "set_rng_state", lambda new, *device, s=state: s.update(now=new)
        )
        kept, own = random_states(device), torch.rand(3)
        state["now"] = None
        set_random_states(kept, device)
        assert state["now"].tolist() == [1, 2] and torch.equal(torch.rand(3), own)


def test_two_runs_do_not_share_a_folder(tmp_path):
    with alone(tmp_path), pytest.raises(FileExistsError, match="another process trains into"):
        recipe = training.read_recipe("digits", ["train.epochs=1", "images=64"])
        record(recipe, fresh, data.load("digits"), tmp_path, progress=False)
    assert not list(tmp_path.iterdir())  # nothing was written over
    with alone(tmp_path):
        pass  # let go of


def test_a_killed_run_is_in_nobodys_way(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from vitbook.training.runs import alone\n"
        "with alone(Path(sys.argv[1])): print('inside', flush=True); time.sleep(600)"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert run.stdout.readline() == b"inside\n"
    with pytest.raises(FileExistsError, match="at this moment"), alone(tmp_path):
        pass
    run.kill()
    run.wait()
    with alone(tmp_path):
        pass


def test_nothing_to_resume_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing to resume: .*typo does not exist"):
        check_begun(tmp_path / "typo")
    check_begun(tmp_path)  # empty: stopped right after it was made
    (tmp_path / "letter.txt").touch()
    with pytest.raises(FileNotFoundError, match="holds other things, and no run. Check --out"):
        check_begun(tmp_path)
    (tmp_path / "config.yaml").touch()  # stopped in the first epoch
    check_begun(tmp_path)


def test_both_accuracies_of_an_average_are_recorded(few, tmp_path):
    settings = "epochs=40 ema=.9999 batch_size=10 warmup=0 learning_rate=.003"
    recipe = training.read_recipe("digits", [f"train.{one}" for one in settings.split()])
    summary = record(recipe, fresh, few, tmp_path, progress=False)
    engine = Engine(fresh(), few, recipe.train, tmp_path)
    engine.resume()
    assert summary["test_accuracy_last_epoch"] == training.accuracy(engine.result, few.test)
    assert summary["test_accuracy_raw_weights"] == training.accuracy(engine.model, few.test)
    assert summary["test_accuracy_raw_weights"] > summary["test_accuracy_last_epoch"] + 0.1
    plain = training.read_recipe("digits", ["train.epochs=1"])
    assert "test_accuracy_raw_weights" not in record(plain, fresh, few, tmp_path / "b")


def test_nothing_of_a_training_stays_on_the_model(few):
    """Every hook, slot and attribute is as before, on the model and on its average."""

    def hung(model):
        slots = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "record")
        return [[bool(getattr(m, slot, None)) for slot in slots] for m in model.modules()]

    model = fresh(drop_path=0.1)
    before, names = hung(model), [sorted(vars(m)) for m in model.modules()]
    engine = Engine(model, few, replace(EVERYTHING, precision="bf16", attention="written"))
    engine.run(progress=False)
    for one in (model, engine.result):
        assert hung(one) == before
        assert [sorted(vars(m)) for m in one.modules()] == names


def test_the_commit_is_that_of_the_packages_own_repository(tmp_path, monkeypatch):
    """Installed inside of another repository, ignored or not yet added, it has none."""

    def git(*command):
        name = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
        subprocess.run(
            ["git", "-C", tmp_path, *name, *command], check=True, capture_output=True
        )

    place = tmp_path / "lib" / "runs.py"
    place.parent.mkdir()
    place.touch()
    (tmp_path / "other.txt").touch()
    monkeypatch.setattr(runs, "__file__", str(place))
    git("init")
    git("add", "other.txt")
    git("commit", "-m", "other")
    assert commit.__wrapped__() is None
    git("add", "lib/runs.py")
    git("commit", "-m", "ours")
    assert len(commit.__wrapped__()) == 40
    monkeypatch.setenv("PATH", "")
    assert commit.__wrapped__() is None
