import importlib.util

import torch
from conftest import ROOT

SPEC = importlib.util.spec_from_file_location("data_path", ROOT / "benchmarks/data_path.py")
data_path = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(data_path)


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
