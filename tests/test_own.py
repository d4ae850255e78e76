"""The reader's own model: what is kept, and that it computes the same once assembled."""

import linecache
import sys
import types

import pytest
import torch
from torch.testing import assert_close

from vitbook import VisionTransformer, ViTConfig
from vitbook.exercises import TASKS, assemble, check, download, own, progress, trial, upload

PARTS = {task.part: task for task in TASKS.values() if getattr(task, "part", "")}


def typed(source, name, title=""):
    """A function as a notebook's cell defines it."""
    cell = f"<cell {abs(hash((source, title)))}>"
    text = title + own.GIVEN + "\n" + source
    linecache.cache[cell] = (len(text), None, text.splitlines(keepends=True), cell)
    module = types.ModuleType("__main__")
    exec(compile(text, cell, "exec"), module.__dict__)
    return module.__dict__[name]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_what_is_right_is_kept_once_and_in_order():
    for number in ("3.7", "3.5", "3.7"):
        task = TASKS[number]
        assert check(number, typed(task.source, task.name)).right
    assert list(own.kept()) == ["3.5", "3.7"]
    assert own.kept()["3.5"] == ("Attention", TASKS["3.5"].source.strip())
    assert set(own.parts()) == {"attention", "split_heads"}


def test_nothing_else_is_kept():
    task = TASKS["3.5"]
    assert not check("3.5", typed(task.source.replace("dim=-1", "dim=-2"), task.name)).right
    assert check("3.5", typed(task.source, task.name, "# @title Solution 3.5\n")).right
    assert check("3.5", task.solution).right
    assert own.kept() == {}


def test_colab_gives_the_file_away_and_takes_it_back(monkeypatch, capsys, tmp_path):
    """Answers of an earlier day join today's, which stay where both answered."""
    for number in ("3.5", "3.7"):
        check(number, typed(TASKS[number].source, TASKS[number].name))
    given = []
    colab = types.ModuleType("google.colab")
    colab.files = types.SimpleNamespace(download=given.append)
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    download()
    assert given == ["my_vit.py"] and "holds 2 answers" in capsys.readouterr().out
    progress()
    assert "download() it" in capsys.readouterr().out
    earlier = (tmp_path / "my_vit.py").read_bytes()
    (tmp_path / "my_vit.py").unlink()
    download()
    assert given == ["my_vit.py"] and "There is no my_vit.py yet" in capsys.readouterr().out
    today = TASKS["3.7"].source.replace("    return", "    # today\n    return")
    assert check("3.7", typed(today, TASKS["3.7"].name)).right
    check("1.5", typed(TASKS["1.5"].source, TASKS["1.5"].name))
    colab.files.upload = lambda: {"my_vit (1).py": earlier, "cat.py": b"miau \xff"}
    upload()
    told = capsys.readouterr().out
    assert "2 answers read from my_vit (1).py; my_vit.py now holds 3." in told
    assert "cat.py holds no answers" in told
    assert list(own.kept()) == ["1.5", "3.5", "3.7"] and "# today" in own.kept()["3.7"][1]


def test_elsewhere_the_file_stays_where_it_is(capsys):
    check("3.5", typed(TASKS["3.5"].source, TASKS["3.5"].name))
    download(), upload(), progress()
    told = capsys.readouterr().out
    assert "holds 1 answers" in told and "beside your notebook" in told
    assert "Colab forgets" not in told


@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize("part", [*own.PLACES, "all"])
def test_a_model_with_parts_of_ones_own_computes_the_same(monkeypatch, capsys, part, pool):
    mine = {p: PARTS[p].solution for p in own.PLACES if part in (p, "all")}
    monkeypatch.setattr(own, "parts", lambda path: mine)
    config = ViTConfig(8, 2, 3, 7, dim=12, depth=2, heads=3, mlp_dim=20, pool=pool)
    torch.manual_seed(1)
    model = assemble(config, "nowhere")
    assert f"yours: {', '.join(mine)}" in capsys.readouterr().out
    torch.manual_seed(1)
    package = VisionTransformer(config)
    images = torch.randn(5, 3, 8, 8)
    assert_close(model(images), package(images))
    ours = {"vitbook.attention", "vitbook.encoder", "vitbook.embeddings"}
    if part == "all":
        assert not {type(m).__module__ for m in model.modules()} & ours


def test_progress_counts_what_is_kept(capsys):
    task = TASKS["3.5"]
    check("3.5", typed(task.source, task.name))
    progress()
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if line.split()[0] == "3").split()[-1] == "1"
    assert lines[-1].split()[-1] == "1"


def test_a_right_layer_learns_as_the_package_s_and_a_wrong_one_does_not():
    task = TASKS["3.5"]
    assert trial(task.solution).endswith("They learn alike.")
    assert trial(PARTS["self_attention"].solution).endswith("They learn alike.")
    wrong = dict.fromkeys(
        ["√d is missing", "divided by d instead", "each column", "after the"], 0
    )
    for sentence, program in task.slips.items():
        if key := next((key for key in wrong if key in sentence), None):
            assert trial(program).endswith("Yours computes something else."), key
            wrong[key] += 1
    assert set(wrong.values()) == {1}
