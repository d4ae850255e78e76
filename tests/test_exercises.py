"""Checkers name the mistake: stubs, solutions, and wrong programs as learners write them."""

import pytest
import torch
from wrong_programs import WRONG

from vitbook.exercises import TASKS, check

tasks = pytest.mark.parametrize("number", TASKS)


@tasks
def test_the_solution_is_right(number):
    assert check(number, TASKS[number].solution).right is True


@tasks
def test_every_task_has_four_wrong_programs_or_more_each_with_a_message_of_its_own(number):
    said = [message for n, message, _ in WRONG if n == number]
    assert len(said) == len(set(said)) >= 4


@pytest.mark.parametrize("number, message, program", WRONG)
def test_a_wrong_program_is_told_what_is_wrong(number, message, program):
    verdict = check(number, program)
    assert verdict.right is False and message in verdict.text, verdict


def stub(q, k, v):
    """Write here."""
    ...


def other_stub(q, k, v):
    raise NotImplementedError


@pytest.mark.parametrize("answer", [stub, other_stub])
def test_a_stub_is_not_attempted(answer):
    verdict = check("3.5", answer)
    assert verdict.right is None and f"Write the body of {answer.__name__}" in verdict.text


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


def test_an_unknown_task_is_named():
    with pytest.raises(ValueError, match=r"no task is called '9.9'; known: 3.5, 3.6"):
        check("9.9", einsum)
