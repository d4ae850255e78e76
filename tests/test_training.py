import io
import math
import pickle

import pytest
import torch
from torch.testing import assert_close

from vitbook import VisionTransformer, data, load_pretrained, preset, training
from vitbook.training import TrainConfig
from vitbook.training.muon import orthogonal


@pytest.fixture(scope="module")
def few():
    digits = data.load("digits")
    parts = [
        data.Split(part.images[:100], part.labels[:100]) for part in (digits.train, digits.test)
    ]
    return data.Dataset("few", digits.classes, *parts)


def fresh(seed=0, **changes):
    torch.manual_seed(seed)
    return VisionTransformer(preset("digits", depth=2, **changes))


def test_groups_hold_every_trained_parameter_once():
    model = fresh(position="sincos")
    matrices, others = training.parameter_groups(model, 0.3)
    assert matrices["weight_decay"] == 0.3 and others["weight_decay"] == 0
    names = {id(p): name for name, p in model.named_parameters()}
    decayed = {names[id(p)] for p in matrices["params"]}
    spared = {names[id(p)] for p in others["params"]}
    assert not decayed & spared
    assert decayed | spared == set(names.values()) - {"embeddings.position"}  # fixed table
    assert all(name.endswith("weight") and "norm" not in name for name in decayed)


def test_learning_rate_rises_then_falls_to_zero():
    rates = [training.learning_rate(step, 100, 1.0, 0.1) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == 1.0
    assert rates[55] == pytest.approx(0.5, abs=0.01)
    assert rates[-1] < 0.001 and all(
        a >= b for a, b in zip(rates[9:], rates[10:], strict=False)
    )
    assert training.learning_rate(0, 1, 1.0, 0.0) == 1.0


def test_predict_leaves_the_mode_alone(few):
    model = fresh(dropout=0.5)
    first = training.predict(model, few.test.images, batch_size=7)
    assert model.training
    assert_close(first, training.predict(model.eval(), few.test.images))
    assert not model.training


def test_a_batch_is_learned_by_heart(few):
    config = TrainConfig(epochs=60, crop=0, label_smoothing=0.0, batch_size=32)
    part = data.Split(few.train.images[:32], few.train.labels[:32])
    history = training.train(fresh(), few._replace(train=part), config, progress=False)
    assert abs(history[0]["loss"] - math.log(10)) < 0.3
    assert history[-1]["loss"] < 0.1


@pytest.mark.parametrize("stop", [1, 2])
def test_a_resumed_run_ends_bit_for_bit_the_same(few, tmp_path, stop):
    config = TrainConfig(epochs=3)
    straight = fresh(dropout=0.1, drop_path=0.1)
    history = training.train(straight, few, config, progress=False)
    path = tmp_path / "checkpoint.pt"
    stopped = fresh(dropout=0.1, drop_path=0.1)
    training.train(stopped, few, config, path, stop_after=stop, progress=False)
    resumed = fresh(seed=9, dropout=0.1, drop_path=0.1)
    assert training.train(resumed, few, config, path, progress=False) == history
    for a, b in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not list(tmp_path.glob("*.unfinished"))


def test_stopping_after_no_epoch_or_beyond_the_end(few):
    """None asked for, none done; more than there are, and the rate still ends at zero."""
    config = TrainConfig(epochs=2)
    assert training.train(fresh(), few, config, stop_after=0, progress=False) == []
    straight, beyond = fresh(), fresh()
    history = training.train(straight, few, config, progress=False)
    assert training.train(beyond, few, config, stop_after=5, progress=False) == history
    for a, b in zip(straight.parameters(), beyond.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ["lr0.1", "lr0.2", "a.b.pt", "plain"])
def test_checkpoints_do_not_share_a_temporary_name(few, tmp_path, monkeypatch, name):
    moved = []
    monkeypatch.setattr(
        training.loop.os, "replace", lambda *names: moved.append([str(n) for n in names])
    )
    training.train(fresh(), few, TrainConfig(epochs=1), tmp_path / name, progress=False)
    assert moved == [[f"{tmp_path / name}.unfinished", str(tmp_path / name)]]


class Evil:
    def __reduce__(self):
        return (open, ("executed", "w"))


def test_bad_checkpoints_are_refused(few, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, config = tmp_path / "checkpoint.pt", TrainConfig(epochs=1)
    training.train(fresh(), few, config, path, progress=False)
    whole = path.read_bytes()
    state, bad = torch.load(path, weights_only=True), [whole[: len(whole) // 2], b""]
    bad += [pickle.dumps(Evil()), written([1]), written(torch.zeros(3))]
    bad += [written({k: state[k] for k in state if k != left_out}) for left_out in state]
    bad += [written(state | {k: 5}) for k in ("model", "optimizer", "random")]
    for content in bad:
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"checkpoint\.pt is not a checkpoint of this model"
        ):
            training.train(fresh(), few, config, path, progress=False)
    assert not (tmp_path / "executed").exists()
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="not a checkpoint of this model"):
        training.train(fresh(mlp_dim=32), few, config, path, progress=False)


def written(thing):
    file = io.BytesIO()
    torch.save(thing, file)
    return file.getvalue()


def test_a_checkpoint_from_a_gpu_goes_on_without_one(few, tmp_path, monkeypatch):
    path, config, ends = tmp_path / "checkpoint.pt", TrainConfig(epochs=2), []
    for where in ("cpu", "cuda:0"):
        with monkeypatch.context() as patched:
            patched.setattr(torch.serialization, "location_tag", lambda storage: where)  # noqa: B023
            training.train(fresh(), few, config, path, stop_after=1, progress=False)
        ends.append(fresh(seed=9))
        training.train(ends[-1], few, config, path, progress=False)
        path.unlink()
    for a, b in zip(*(end.parameters() for end in ends), strict=True):
        assert torch.equal(a, b)


def test_a_checkpoint_that_may_not_be_read_is_not_called_bad(few, tmp_path):
    with pytest.raises(OSError, match="directory"):  # nor is its removal advised
        training.train(fresh(), few, TrainConfig(epochs=1), tmp_path, progress=False)


def test_muon_makes_long_directions_alike_and_leaves_the_faintest():
    """What the docstring of ``orthogonal`` and chapter 5 say of its singular values."""
    lengths = torch.logspace(-6, 0, 6001, dtype=torch.float64)
    ends = lengths
    for _ in range(5):
        ends = 3.4445 * ends - 4.7750 * ends**3 + 2.0315 * ends**5
    assert ends[lengths >= 0.0015].min() > 0.65 and ends.max() < 1.21
    assert ends[lengths < 0.001].max() < 0.5
    assert (ends / lengths).max() == pytest.approx(485, abs=1)
    torch.manual_seed(0)
    matrix = torch.randn(7, 5, dtype=torch.float64)
    left, before, right = torch.linalg.svd(matrix, full_matrices=False)
    before = before / matrix.norm()
    for _ in range(5):
        before = 3.4445 * before - 4.7750 * before**3 + 2.0315 * before**5
    assert_close(orthogonal(matrix[None])[0], left * before @ right)


def test_weights_round_trip_and_refusals(tmp_path):
    path, model = tmp_path / "w.safetensors", fresh().eval()
    training.save_weights(path, model)
    loaded = training.load_weights(path)
    assert loaded.config == model.config and not loaded.training
    for a, b in zip(model.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(a, b)
    whole = path.read_bytes()
    for content in (whole[:-10], b"", pickle.dumps({"a": 1})):
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"w\.safetensors is not a whole file of vitbook weights"
        ):
            training.load_weights(path)
    with pytest.raises(ValueError, match="not a whole file"):
        training.load_weights(tmp_path / "missing.safetensors")


def test_shipped_weights_are_as_good_as_recorded():
    digits = data.load("digits")
    model = load_pretrained("digits")
    recorded = training.recorded_runs("digits")[0][-1]["test_accuracy"]
    assert training.accuracy(model, digits.test) == pytest.approx(recorded, abs=1e-6)
    assert recorded >= 0.97
    seer = load_pretrained("digits-canvas")
    canvases, labels, _ = data.digits_canvas(digits.test, 2000, seed=2)
    recorded = training.recorded_runs("digits-canvas")[0][-1]["test_accuracy"]
    accuracy = training.accuracy(seer, data.Split(canvases, labels))
    assert accuracy == pytest.approx(recorded, abs=0.001)
    assert recorded >= 0.90
    with pytest.raises(
        ValueError, match="no weights are called 'cifar'; known: .*digits, digits-canvas"
    ):
        load_pretrained("cifar")
