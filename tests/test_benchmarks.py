import importlib.util
import json
import sys

import pytest
import torch
from conftest import ROOT

from vitbook import VisionTransformer, preset


def benchmark(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"benchmarks/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


data_path, peers = benchmark("data_path"), benchmark("peers")
training_step = benchmark("training_step")


def test_the_benchmark_feeds_one_batch_or_many():
    cpu = torch.device("cpu")
    for kind, same in ((data_path.OneBatch, True), (data_path.Engine, False)):
        engine = data_path.engine(kind, cpu, "tinyvit", rand_augment=(2, 9))
        one, two = (engine.batch(torch.arange(4), True)[0] for _ in range(2))
        assert torch.equal(one, two) == same and one.shape == (4, 3, 32, 32)


def test_the_benchmark_measures_a_ratio_of_rates(monkeypatch):
    cpu, real = torch.device("cpu"), data_path.seconds
    assert real(data_path.engine(data_path.Engine, cpu, "tinyvit", batch_size=4), 1) > 0
    turns = iter([9.0, 9.0, 1.0, 2.0, 3.0, 4.0, 1.0, 8.0])  # the first steps, then turn by turn
    fed = []

    def seconds(trained, steps):
        fed.append(not isinstance(trained, data_path.OneBatch))
        return next(turns)

    monkeypatch.setattr(data_path, "seconds", seconds)
    assert data_path.ratio({"batch_size": 4}, "tinyvit", 1, 3, cpu) == 0.5
    assert fed == [True, False] + 3 * [False, True], "fixed over fed: a rate, not a time"


@pytest.mark.parametrize("name", ["timm", "torchvision"])
def test_a_peer_is_the_same_model(name):
    """As many parameters as ours, and logits for the same pictures."""
    config = preset("mini-vit-tiny", depth=2, pool="cls", classes=7)
    ours, peer = VisionTransformer(config), peers.PEERS[name](config)
    assert peer(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    count, other = (sum(p.numel() for p in m.parameters()) for m in (ours, peer))
    assert count == other


def test_peers_are_compared_turn_by_turn(monkeypatch, capsys):
    """Medians of the ratios within a turn; the faster of our two ways counts as ours."""
    times = iter([9.0] * 3 + [2.0, 1.0, 3.0] + [20.0, 10.0, 40.0] + [2.0, 1.0, 1.0])
    monkeypatch.setattr(peers, "PEERS", {"timm": lambda config: None})
    monkeypatch.setattr(peers, "seconds", lambda *arguments: next(times))
    peers.compare("mini-vit-tiny", True, False, 3)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [line[-1] for line in lines] == ["2.00", "1.00", "3.00"]


def test_a_missing_peer_is_left_out_by_name(monkeypatch, capsys):
    def missing(config):
        raise ImportError("No module named 'vit_pytorch'")

    monkeypatch.setattr(peers, "PEERS", {"vit-pytorch": missing})
    made = peers.models(preset("digits"))
    assert list(made) == ["ours, fused", "ours, written"]
    assert "left out: vit-pytorch (No module named 'vit_pytorch')" in capsys.readouterr().out


def test_the_rate_is_images_per_processor_second(monkeypatch):
    trained = training_step.engine("tinyvit", 4, precision="fp32", attention="written")
    trained.begin()
    ticks, steps = iter([10.0, 12.0]), []
    monkeypatch.setattr(trained, "step", lambda *arguments: steps.append(arguments))
    monkeypatch.setattr(training_step.time, "process_time", lambda: next(ticks))
    assert training_step.rate(trained) == 2.0 and len(steps) == 1


def test_rates_are_recorded_under_the_processors_name(monkeypatch, tmp_path, capsys):
    """What another processor left in the record stays."""
    (tmp_path / "rates.json").write_text('{"another": {}}')
    monkeypatch.setattr(training_step, "RECORD", tmp_path / "rates.json")
    monkeypatch.setattr(training_step, "MODELS", {"tinyvit": 4})
    monkeypatch.setattr(training_step, "rate", lambda trained: 8.0)
    monkeypatch.setattr(training_step, "device_name", lambda device: "mine")
    monkeypatch.setattr(sys, "argv", ["training_step.py", "--record"])
    training_step.main()
    found = json.loads((tmp_path / "rates.json").read_text())
    assert found.keys() == {"another", "mine"} and found["mine"]["tinyvit"]["batch"] == 4
    assert found["mine"]["tinyvit"]["bf16, written"] == 8.0
    assert found["mine"]["tinyvit"]["auto"] in capsys.readouterr().out


@pytest.mark.parametrize("flags, name", [("fma", "A chip"), ("fma amx_bf16", "A chip, AMX")])
def test_a_devices_name_says_whether_it_has_matrix_units(monkeypatch, flags, name):
    from vitbook.training import runs

    text = f"model name\t: A chip\nflags\t\t: {flags}\n"
    monkeypatch.setattr(runs.Path, "exists", lambda path: True)
    monkeypatch.setattr(runs.Path, "read_text", lambda path: text)
    assert runs.device_name(torch.device("cpu")).endswith(f" CPU cores ({name})")
