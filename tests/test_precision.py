"""How a training computes: chosen by time, kept on resume, equal in what comes out."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from vitbook import VisionTransformer, data, preset, record_attention
from vitbook.training import EngineConfig, read_recipe
from vitbook.training.engine import Engine, can_compile
from vitbook.training.precision import (
    Choice,
    attention_layers,
    choose,
    computing,
    fastest,
    formats_of,
)

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
PLAIN = {"precision": "fp32", "attention": "fused"}
FUSED, WRITTEN = Choice("fp32", "fused"), Choice("fp32", "written")
LOW = Choice("bf16", "written")


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


def stop(engine):
    raise KeyboardInterrupt


def clock(times):
    """A function that says how long each choice takes, and a list of what it was asked."""
    asked = []

    def seconds(choice):
        asked.append(choice)
        return times[choice[:2]]

    return seconds, asked


@pytest.mark.parametrize(
    "times, best",
    [
        ((1.0, 0.9, 2.0), WRITTEN),
        ((1.0, 0.97, 2.0), FUSED),  # hardly faster: not worth another rounding
        ((1.0, 0.9, 0.4), LOW),
        ((1.0, 1.1, 1.2), FUSED),
    ],
)
def test_the_clearly_fastest_is_chosen(times, best):
    seconds, asked = clock(dict(zip([FUSED[:2], WRITTEN[:2], LOW[:2]], times, strict=True)))
    assert fastest([FUSED, WRITTEN, LOW], seconds) == best
    assert [asked.count(choice) for choice in (FUSED, WRITTEN, LOW)] == [4, 4, 4]


def test_one_slow_step_decides_nothing_and_a_hopeless_way_is_tried_once():
    taken = iter([9.0, 1.0, 1.0, 1.5, 1.0, 1.5, 99.0, 1.5])  # fused and written in turns
    assert fastest([FUSED, WRITTEN], lambda choice: next(taken)) == FUSED
    seconds, asked = clock({FUSED[:2]: 1.0, LOW[:2]: 3.5})
    assert fastest([FUSED, LOW], seconds) == FUSED and asked.count(LOW) == 1


@pytest.mark.parametrize(
    "config, layers, tried",
    [
        ({}, True, 4),
        ({"precision": "fp32"}, True, 2),
        ({"attention": "written"}, True, 2),
        ({}, False, 2),  # a model without attention
        ({"precision": "fp16", "attention": "written"}, True, 0),  # nothing is open
    ],
)
def test_only_what_is_open_is_timed(config, layers, tried):
    formats, ways = ("fp32", "bf16", "fp16"), ("fused", "written")
    seconds, asked = clock({(precision, way): 1.0 for precision in formats for way in ways})
    found = choose(EngineConfig(**config), CPU, layers, seconds)
    assert len(set(asked)) == tried
    for name, said in config.items():
        assert getattr(found, name) == said


def test_formats_follow_the_generation_of_a_gpu(monkeypatch):
    expected = {6: ["fp32"], 7: ["fp16"], 8: ["bf16"], 9: ["bf16"]}
    monkeypatch.setattr("vitbook.training.engine.find_spec", lambda name: name == "triton")
    for number, formats in expected.items():
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, n=number: (n, 0))
        assert formats_of(CUDA) == formats and can_compile(CUDA) == (number >= 7)
    monkeypatch.setattr("vitbook.training.engine.find_spec", lambda name: None)
    assert not can_compile(CUDA) and not can_compile(CPU)
    assert formats_of(CPU) == ["fp32", "bf16"] and formats_of(torch.device("mps")) == ["fp32"]


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_both_ways_through_attention_are_one_function(pool):
    """Logits and every gradient; and the recorder hears, inside and afterwards."""
    torch.manual_seed(0)
    sizes = {"dim": 33, "heads": 3, "mlp_dim": 5, "depth": 2, "classes": 7}
    config = preset("digits", pool=pool, position="learned", **sizes)
    model = VisionTransformer(config).double()
    layers = attention_layers(model)
    images, labels = torch.randn(5, 1, 8, 8).double(), torch.tensor([0, 6, 2, 1, 3])
    found = []
    for choice in (FUSED, WRITTEN):
        model.zero_grad()
        with computing(choice, CPU, layers):
            assert all(bool(layer.record) == (choice == WRITTEN) for layer in layers)
            logits = model(images)
        F.cross_entropy(logits, labels).backward()
        found.append([logits, *[p.grad for p in model.parameters()]])
        assert not any(layer.record for layer in layers)
    for one, other in zip(*found, strict=True):
        assert_close(one, other)
    with record_attention(model) as maps, computing(WRITTEN, CPU, layers):
        model(images)
    assert maps.weights.shape[:3] == (2, 5, 3) and not any(layer.record for layer in layers)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_precision_reaches_the_multiplications_and_leaves_with_an_error(precision):
    layers = attention_layers(fresh())
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    with pytest.raises(KeyError), computing(Choice(precision, "written"), CPU, layers):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == kinds[precision]
        raise KeyError
    assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    assert not any(layer.record for layer in layers)


def test_choosing_leaves_no_trace(few):
    """Timing steps moves no weight, leaves no gradient, and draws no random number."""
    engine = Engine(fresh(dropout=0.1), few, EngineConfig())
    before = torch.get_rng_state()
    choice = engine.choose()
    assert torch.equal(torch.get_rng_state(), before)
    assert equal(engine.model, fresh(dropout=0.1)) and choice.attention in ("fused", "written")
    assert all(p.grad is None for p in engine.model.parameters()) and not choice.compiled


def test_what_was_chosen_is_logged_and_kept(few, tmp_path, monkeypatch):
    lines, config = [], EngineConfig(epochs=2)
    monkeypatch.setattr("vitbook.training.engine.choose", lambda *a: LOW)
    engine = Engine(fresh(), few, config, tmp_path, lines.append)
    with pytest.raises(KeyboardInterrupt):
        engine.run(False, stop)
    assert lines[0] == {"step": 0, "epoch": 0, **LOW._asdict()}
    monkeypatch.setattr("vitbook.training.engine.choose", lambda *a: FUSED)
    again = Engine(fresh(5), few, config, tmp_path)
    again.resume()
    assert again.choice == LOW and not again.remarks
    asked = Engine(fresh(5), few, replace(config, precision="fp32"), tmp_path)
    asked.resume()
    assert asked.choice == WRITTEN
    assert asked.remarks == ["from epoch 2 on cpu, fp32, written; cpu, bf16, written before"]


def test_resuming_on_another_device_goes_on_and_says_so(few, tmp_path, caplog):
    config = EngineConfig(epochs=2, **PLAIN)
    with pytest.raises(KeyboardInterrupt):
        Engine(fresh(), few, config, tmp_path).run(False, stop)
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    state["device"], state["random"] = "cuda", [[*state["random"][0], torch.zeros(16)]]
    torch.save(state, tmp_path / "last.pt")
    engine = Engine(fresh(5), few, config, tmp_path)
    engine.resume()
    assert "no longer bit for bit: from epoch 2 on cpu" in caplog.text
    assert len(engine.run(progress=False)) == 2 and engine.remarks


def test_steps_without_a_finite_gradient_are_skipped_and_counted(few):
    config = EngineConfig(epochs=1, batch_size=50, precision="fp16", ema=0.5)
    engine = Engine(fresh(), few, config)
    engine.begin()
    engine.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**60)
    engine.run(progress=False)
    assert engine.skipped == 2 and engine.scaler.get_scale() == 2.0**58
    assert equal(engine.model, fresh()) and equal(engine.result, fresh())
    engine.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**-13)
    engine.model.head.weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(FloatingPointError, match="float16 loss fell .* precision fp32"):
        for _ in range(3):
            engine.step(torch.arange(50), 0, 2)


def test_fp16_and_bf16_train_as_well(few):
    """Each format ends near float32, and none of them is float32."""
    ends = {}
    for precision in ("fp32", "bf16", "fp16"):
        engine = Engine(fresh(), few, EngineConfig(epochs=15, precision=precision))
        ends[precision] = engine.run(progress=False)[-1]["loss"]
    for precision in ("bf16", "fp16"):
        assert ends[precision] == pytest.approx(ends["fp32"], abs=0.1)
        assert ends[precision] != ends["fp32"]


def test_muon_multiplies_as_chosen(few):
    for precision, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        engine = Engine(fresh(), few, EngineConfig(optimizer="muon", precision=precision))
        engine.begin()
        assert engine.optimizers[1].dtype == kind


def test_compiling_waits_for_long_trainings(few, monkeypatch):
    """By a clock on which every step takes a second, 300 steps are long."""
    ticks = iter(range(10**6))
    monkeypatch.setattr("vitbook.training.engine.can_compile", lambda device: True)
    monkeypatch.setattr("vitbook.training.engine.time.perf_counter", lambda: next(ticks))
    for epochs, long in ((149, False), (150, True)):  # two steps each
        engine = Engine(fresh(), few, EngineConfig(epochs=epochs, **PLAIN))
        assert engine.choose().compiled == long
    assert not Engine(fresh(), few, EngineConfig(epochs=999, compile="off")).choose().compiled
    assert Engine(fresh(), few, EngineConfig(epochs=1, compile="on")).choose().compiled


@pytest.mark.parametrize(
    "said, meant", [("auto", "auto"), ("on", "bf16"), ("off", "fp32"), ("'on'", "bf16")]
)
def test_old_recipes_still_read(said, meant, caplog):
    assert read_recipe("digits", [f"train.bf16={said}"]).train.precision == meant
    assert f"write precision: {meant}" in caplog.text
    with pytest.raises(ValueError, match="bf16 in .* must be auto, on or off, got 3"):
        read_recipe("digits", ["train.bf16=3"])


def test_history_shows_training_beside_held_out(few):
    engine = Engine(fresh(), few, EngineConfig(epochs=3, evaluate_every=2, **PLAIN))
    rows = engine.run(progress=False)
    assert list(rows[0]) == ["epoch", "loss", "train_accuracy", "test_loss", "test_accuracy"]
    assert [row["test_loss"] is None for row in rows] == [True, False, False]
    logits = engine.model.eval()((few.test.images.float() / 255 - 0.5) / 0.5)
    loss = F.cross_entropy(logits, few.test.labels).item()
    assert rows[-1]["test_loss"] == pytest.approx(loss)
    assert all(0 < row["train_accuracy"] < 1 for row in rows)


def test_training_accuracy_counts_every_image_once(few):
    """A head that says 3 for everything is right as often as there are threes."""
    model = fresh()
    torch.nn.init.zeros_(model.head.weight)
    model.head.bias.data[3] = 9.0
    config = EngineConfig(epochs=1, batch_size=7, learning_rate=1e-30, **PLAIN)
    row = Engine(model, few, config).run(progress=False)[0]
    threes = (few.train.labels == 3).float().mean().item()
    assert row["train_accuracy"] == pytest.approx(threes)


@pytest.mark.parametrize("on", [True, False])
def test_faster_products_end_with_the_training(few, monkeypatch, on):
    """The setting is the whole process's: it is put back, after an error as well."""
    before, seen = torch.get_float32_matmul_precision(), []
    engine = Engine(fresh(), few, EngineConfig(epochs=1, **PLAIN))
    engine.begin()
    engine.choice = engine.choice._replace(compiled=on)

    def fail(epoch, bar):
        seen.append(torch.get_float32_matmul_precision())
        raise RuntimeError("planted")

    monkeypatch.setattr(engine, "epoch", fail)
    with pytest.raises(RuntimeError, match="planted"):
        engine.run(progress=False)
    assert seen == ["high" if on else before]
    assert torch.get_float32_matmul_precision() == before
