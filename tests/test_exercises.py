"""Checkers name the mistake: stubs, solutions, and wrong programs as learners write them."""

import contextlib
import importlib
import json
import linecache
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import right_programs
import torch
import torch.nn.functional as F
import wrong_programs
from companions import companion
from torch.testing import assert_close

from vitbook import (
    VisionTransformer,
    explain,
    faithfulness,
    patchify,
    preset,
    training,
    unpatchify,
)
from vitbook.attention import MultiHeadSelfAttention, attention
from vitbook.data import normalize
from vitbook.embeddings import resize_positions
from vitbook.encoder import MLP, EncoderBlock
from vitbook.exercises import TASKS, Question, check
from vitbook.exercises.checker import copies, difference
from vitbook.exercises.sources import GIVEN, is_stub, source_of, stub
from vitbook.exercises.tasks import of_chapter
from vitbook.explain import position_similarity
from vitbook.vit import make_blocks

ROOT = Path(__file__).resolve().parents[1]

for kind in (right_programs, wrong_programs):
    for module in pkgutil.iter_modules(kind.__path__):
        importlib.import_module(f"{kind.__name__}.{module.name}")

tasks = pytest.mark.parametrize("number", TASKS)
written = pytest.mark.parametrize(
    "number", [n for n, task in TASKS.items() if not isinstance(task, Question)]
)


def defined(task, source, tmp_path):
    """What a reader has who typed this source below what the task gives."""
    file = tmp_path / "answer.py"
    file.write_text(f"{task.names}\n\n\n{source}", encoding="utf-8")
    names = {}
    exec(compile(file.read_text(encoding="utf-8"), file, "exec"), names)
    return names[task.name]


@written
def test_the_stub_is_not_attempted(number, tmp_path):
    task = TASKS[number]
    answer = defined(task, GIVEN + stub(task.source, task.filled), tmp_path)
    verdict = check(number, answer)
    assert verdict.right is None and f"Write the body of {task.name}" in verdict.text, verdict


@written
def test_the_stub_says_what_is_asked_for(number):
    solution = TASKS[number].solution
    assert solution.__doc__
    if isinstance(solution, type):
        methods = [m for n, m in vars(solution).items() if callable(m) and n != "__init__"]
        assert all(method.__doc__ for method in methods)


@written
def test_the_solution_as_it_is_shown_is_right(number, tmp_path):
    task = TASKS[number]
    answer = defined(task, GIVEN + task.source, tmp_path)
    assert source_of(answer) == task.source
    verdict = check(number, answer)
    assert verdict.right is True, verdict


@pytest.mark.parametrize("number", [n for n, t in TASKS.items() if isinstance(t, Question)])
def test_a_question_has_an_answer_that_its_solution_computes(number):
    task = TASKS[number]
    *lines, last = task.solution.strip().splitlines()
    names = {}
    exec(GIVEN + "\n".join(lines), names)
    assert check(number, eval(last, names)).right is True
    assert check(number, ...).right is None


@tasks
def test_every_task_has_four_wrong_programs_or_more_each_with_a_message_of_its_own(number):
    said = [message for n, message, _ in wrong_programs.WRONG if n == number]
    assert len(said) == len(set(said)) >= 4


@tasks
def test_every_slip_is_made_by_a_wrong_program(number):
    said = [message for n, message, _ in wrong_programs.WRONG if n == number]
    for sentence in TASKS[number].slips:
        assert any(message in sentence for message in said), sentence


@pytest.mark.parametrize("number, message, answer", wrong_programs.WRONG)
def test_a_wrong_program_is_told_what_is_wrong(number, message, answer):
    verdict = check(number, answer)
    assert verdict.right is False and message in verdict.text, verdict
    said = verdict.text.rpartition(" Stuck?")[0]  # a sentence ends once
    assert "had not ended" in message or re.search(r"[^.?!][.?!][”`)]?$", said), said


@pytest.mark.parametrize("number, answer", right_programs.RIGHT)
def test_a_right_program_of_another_form_is_right(number, answer):
    verdict = check(number, answer)
    assert verdict.right is True, verdict


@tasks
def test_the_section_that_taught_it_is_one_of_its_chapter(number):
    chapter = int(number.split(".")[0])
    (path,) = ROOT.glob(f"notebooks/{chapter:02d}_*.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    lines = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    assert TASKS[number].section in re.findall(r"^##+ (.*)$", lines, re.M)


def test_the_companion_notebooks_are_those_of_the_tasks():
    for chapter in sorted((ROOT / "notebooks").glob("0*.ipynb")):
        tasks = of_chapter(chapter)
        path = ROOT / "notebooks/exercises" / chapter.name
        assert path.exists() == bool(tasks)
        if tasks:
            kept = json.loads(path.read_text(encoding="utf-8"))["cells"]
            made = companion(chapter, tasks)["cells"]
            for key in ("id", "cell_type", "source"):
                assert [c[key] for c in kept] == [c[key] for c in made]


@tasks
def test_hints_do_not_give_the_answer_away(number):
    task = TASKS[number]
    assert len(set(task.hints)) == 3
    if not isinstance(task, Question):
        body = [line.strip() for line in task.source.splitlines() if "return" in line]
        assert not any(line in hint for line in body for hint in task.hints)


def not_there(q, k, v):
    raise NotImplementedError


class Half:
    """One method written, the other not."""

    def __init__(self):
        self.k = 3

    def forward(self, x):
        """Gives x."""
        ...


def test_stubs_of_every_form_are_known():
    assert check("3.5", not_there).right is None
    assert is_stub(Half) and not is_stub(einsum)
    assert stub("def f(x):\n    y = x\n    return y\n") == "def f(x):\n    ...\n"


def test_an_import_of_the_same_name_is_no_definition(tmp_path):
    task = TASKS["3.5"]
    source = f"from vitbook.attention import attention\n\n\n{GIVEN}{task.source}"
    assert source_of(defined(task, source, tmp_path)) == task.source


def einsum(q, k, v):
    scores = torch.einsum("...qd, ...kd -> ...qk", q, k) * q.shape[-1] ** -0.5
    weights = torch.exp(scores - scores.max(dim=-1, keepdim=True).values)
    weights = weights / weights.sum(dim=-1, keepdim=True)
    return torch.einsum("...qk, ...kv -> ...qv", weights, v), weights


def in_single(q, k, v):
    output, weights = einsum(q.float(), k.float(), v.float())
    return [output, weights]


@pytest.mark.parametrize("answer", [einsum, in_single])
def test_another_form_rounding_and_precision_are_no_mistakes(answer):
    assert check("3.5", answer).right


def same(number, program):
    """Whether a program of the package gives what the solution gives, on every case."""
    task = TASKS[number]
    for _, given in task.cases():
        found, expected = (task.run(p, *copies(given)) for p in (program, task.solution))
        assert not difference(found, expected), number


def test_solutions_of_chapter_5_are_what_the_package_does():
    same("5.5", lambda logits, labels, e: F.cross_entropy(logits, labels, label_smoothing=e))
    rates = {"steps": 50, "peak": 0.004, "warmup": 0.1}
    for step in range(50):
        ours = TASKS["5.7"].solution(step, **rates)
        assert ours == training.learning_rate(step, **rates)
    model = VisionTransformer(preset("digits"))
    groups = [f(model, 0.3) for f in (TASKS["5.6"].solution, training.parameter_groups)]
    for mine, theirs in zip(*groups, strict=True):
        assert [id(p) for p in mine["params"]] == [id(p) for p in theirs["params"]]
    shade = torch.arange(0, 250, 2, dtype=torch.uint8).reshape(1, 5, 5, 5)
    assert torch.equal(TASKS["5.9"].solution(shade, [0.5] * 5, [0.5] * 5), normalize(shade))


def test_solutions_of_chapter_6_are_what_the_package_does():
    for _, (weights, layer, registers) in TASKS["6.7"].cases():
        kept = [0, *range(1 + registers, weights.shape[-1])]
        theirs = explain.class_token_map(weights[..., kept], layer, (1, len(kept) - 1))
        assert_close(TASKS["6.7"].solution(weights, layer, registers), theirs)
    same("6.14", faithfulness.rank_correlation)
    for _, (weights, share) in TASKS["6.8"].cases():
        if share in (0.0, 0.5):
            assert_close(
                TASKS["6.8"].solution(weights, share), explain.rollout(weights, share > 0)
            )
    for _, (*recorded, class_token) in TASKS["6.9"].cases():
        total = explain.gradients.relevance_of(*recorded)
        model = SimpleNamespace(config=SimpleNamespace(pool="cls" if class_token else "mean"))
        gained = total - torch.eye(total.shape[-1])
        found = TASKS["6.9"].solution(*recorded, class_token)
        assert_close(found, explain.gradients.readout(gained, model))
    boxes = torch.tensor([[0, 4, 8, 12], [4, 0, 12, 8]])
    inside = faithfulness.inside_boxes(boxes, (3, 5), 4)
    maps = torch.arange(30.0).reshape(2, 15) % 11
    for number, theirs in (("6.11", faithfulness.pointing), ("6.12", faithfulness.energy)):
        assert_close(TASKS[number].solution(maps, boxes, (3, 5), 4), theirs(maps, inside))


def test_a_wrong_scalar_is_shown_without_an_index():
    verdict = check("5.5", lambda logits, labels, smoothing: logits.sum() * 0 + 7)
    assert "it gives 7, not 0.3133." in verdict.text


def test_solutions_of_chapter_3_are_what_the_package_does():
    same("3.5", attention)
    same("3.10", MultiHeadSelfAttention)


def test_solutions_of_chapter_4_are_what_the_package_does():
    same("4.5", lambda x, scale, shift, eps: F.layer_norm(x, scale.shape, scale, shift, eps))
    same("4.6", MLP)
    same("4.8", EncoderBlock)
    with torch.device("meta"):
        block = EncoderBlock(10, 2, 20)
    assert sum(p.numel() for p in block.parameters()) == TASKS["4.10"].answer
    rates = [layer.rate for layer in TASKS["4.11"].solution(5, 0.2, SimpleNamespace)]
    config = preset("digits", depth=5, drop_path=0.2)
    assert rates == [layer.drop_path.rate for layer in make_blocks(config)]
    ours = TASKS["4.13"].solution(next(iter(TASKS["4.13"].cases()))[1][0], 0)
    assert ours.keys() == block.state_dict().keys()


def test_an_unknown_task_is_named():
    with pytest.raises(ValueError, match=r"no task is called '9.9'; known: .*3.5, 3.6"):
        check("9.9", einsum)


def test_chapter_1_asks_for_what_the_package_does():
    squares = [given for _, given in TASKS["1.5"].cases() if isinstance(given[1], int)]
    assert len(squares) == 2
    for given in squares:
        assert torch.equal(TASKS["1.5"].solution(*given), patchify(*given))
    for _, given in TASKS["1.7"].cases():
        assert torch.equal(TASKS["1.7"].solution(*given), unpatchify(*given))
    for _, (patches, size, grid) in TASKS["1.14"].cases():
        larger = patchify(unpatchify(patches, size, grid), 2 * size)
        assert torch.equal(TASKS["1.14"].solution(patches, size, grid), larger)


def test_chapter_2_asks_for_what_the_package_does():
    for _, (table, old, new) in TASKS["2.9"].cases():
        found = TASKS["2.9"].solution(table, old, new)[0, 1:]
        torch.testing.assert_close(
            found.float(), resize_positions(table[0, 1:], old, new).float()
        )
    for _, given in TASKS["2.10"].cases():
        found = TASKS["2.10"].solution(*given)
        torch.testing.assert_close(found, position_similarity(*given))


def points(chapter, answers):
    """The points that nbgrader would give: {task: points} of the checks that raise nothing."""
    tasks = of_chapter(chapter)
    names, given = {"progress": lambda: None}, {}
    for cell in companion(chapter, tasks, "instructor")["cells"][2:]:
        mark, source = cell["metadata"].get("nbgrader", {}), "".join(cell["source"])
        if mark.get("solution"):
            source = answers(source)
        if cell["cell_type"] == "code":
            file = f"<{chapter.stem} {cell['id']} {answers.__name__}>"
            linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
            with contextlib.suppress(AssertionError):
                exec(compile(source, file, "exec"), names)
                if mark.get("grade"):
                    given[mark["grade_id"]] = mark["points"]
    return given


def filled(source):
    return source


def blank(source):
    return re.sub(r"### BEGIN SOLUTION.*### END SOLUTION", "", source, flags=re.S)


@pytest.mark.parametrize("chapter", sorted((ROOT / "notebooks").glob("0[1-6]*.ipynb")), ids=str)
def test_nbgrader_gives_all_points_for_solutions_and_none_for_blanks(chapter):
    tasks = of_chapter(chapter)
    assert sum(points(chapter, filled).values()) == sum(task.points for task in tasks) > 10
    assert points(chapter, blank) == {}


def test_the_student_edition_has_blanks_and_no_solutions():
    for chapter in sorted((ROOT / "notebooks").glob("0[1-6]*.ipynb")):
        tasks = of_chapter(chapter)
        cells = companion(chapter, tasks, "student")["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells)
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        assert "Solution" not in text
        for task in tasks:
            assert f"## Exercise {task.number}: {task.title}\n" in text
            if not isinstance(task, Question):
                assert any(
                    source.endswith(stub(task.source, task.filled).strip()) for source in code
                )


@pytest.mark.parametrize(
    "path", sorted((ROOT / "notebooks/exercises").glob("*.ipynb")), ids=lambda path: path.stem
)
def test_a_companion_prints_what_its_page_shows(path, tmp_path):
    shutil.copy(path, tmp_path)
    command = [sys.executable, "-m", "pytest", "--nbval", "-q", "-p", "no:cacheprovider"]
    ran = subprocess.run([*command, path.name], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-3000:]


def without_gradients(q, k, v):
    numbers = torch.from_numpy((q @ k.mT).numpy()) / q.shape[-1] ** 0.5
    weights = numbers.softmax(dim=-1)
    return weights @ v, weights


def test_what_fails_only_with_gradients_is_a_sentence_and_no_crash():
    text = check("3.5", without_gradients).text
    assert text.startswith("The numbers are right, but where gradients are wanted `numbers = ")
    assert "raises RuntimeError: Can't call numpy()" in text


def test_a_right_number_written_otherwise_is_told_so():
    """0.575 is right: as percent, and with too few digits; a tensor is a number, too."""
    assert check("6.19", torch.tensor(0.5749)).right
    for given, told in (
        (57.5, "57.5 percent it is; a number from 0 to 1"),
        (0.57, "0.57 is right as far as it goes; give more digits."),
        (torch.tensor(0.57), "0.57 is right as far"),
        (0.58, "0.58 is not it."),
        (56, "56 is not it."),
    ):
        verdict = check("6.19", given)
        assert not verdict.right and told in verdict.text, verdict.text


TIMES = 0


def counting(q, k, v):
    global TIMES
    TIMES += 1
    output, weights = einsum(q, k, v)
    return output * TIMES, weights


def test_a_count_in_the_reader_s_names_is_seen():
    text = check("3.5", counting).text
    assert text.startswith("Tried with one query and two keys: it gives another result")
