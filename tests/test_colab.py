"""The rehearsal with Colab's versions: what it fills in, what it calls a failure, its table."""

import json

import colab
import nbformat
import pytest

from vitbook.exercises import Question
from vitbook.exercises.tasks import of_chapter

COMPANIONS = [path for path in colab.NOTEBOOKS if "exercises" in path.parts]


def test_all_notebooks_are_rehearsed_and_the_last_time_stands_on_the_page():
    record = json.loads(colab.RECORD.read_text())
    names = {path.relative_to(colab.ROOT / "notebooks").as_posix() for path in colab.NOTEBOOKS}
    assert record["notebooks"].keys() == names, "run make colab"
    assert not any(colab.failed(row) for row in record["notebooks"].values())
    text = colab.PAGE.read_text("utf-8")
    assert colab.written(text, colab.part(record)) == text, "run python scripts/colab.py --page"
    record["notebooks"]["03_attention.ipynb"]["seconds"] += 1
    assert colab.written(text, colab.part(record)) != text


@pytest.mark.parametrize("path", COMPANIONS, ids=lambda path: path.stem)
def test_every_blank_holds_its_solution_and_is_checked_once(path):
    cells = colab.filled(nbformat.read(path, 4)).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    assert not any(source.startswith("# @title Solution") for source in code)
    for task in of_chapter(path):
        asks = [source for source in code if f'check("{task.number}"' in source]
        assert len(asks) == 1, task.number
        solved = task.solution if isinstance(task, Question) else task.source
        assert any(solved.strip().splitlines()[-1].strip() in source for source in code)


@pytest.mark.parametrize(
    ("row", "bad"),
    [
        ({"set_up": 30, "seconds": 50, "same": 3, "of": 5}, False),
        ({"set_up": 31, "seconds": 50, "same": 5, "of": 5}, True),
        ({"set_up": 20, "seconds": 50, "right": 4, "of": 5}, True),
        ({"error": "NameError: name 'q' is not defined"}, True),
    ],
)
def test_what_counts_as_a_failure(row, bad):
    """Numbers may differ between versions; errors, wrong verdicts and long set-ups may not."""
    assert colab.failed(row) is bad and colab.words(row)


def test_outside_nothing_of_this_repository_is_seen(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "here")
    monkeypatch.setenv("VITBOOK_DATA", "there")
    seen = colab.outside()
    assert not {"PYTHONPATH", "VITBOOK_DATA"} & seen.keys()
    assert seen["GIT_CONFIG_KEY_0"].endswith(".insteadOf") and "PATH" in seen
