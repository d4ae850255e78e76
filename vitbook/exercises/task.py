"""What a task is: something to write, or a question with one answer."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class Card:
    """What stands on the card of a task, whatever its kind.

    Args:
        number: chapter and place, such as "3.5".
        title: what it is.
        text: what to do, in Markdown.
        minutes: how long it may take a reader who has read the chapter.
        trains: what it is good for, in a few words.
        section: heading of the chapter that taught it.
        hints: three steps, none of which is the answer.
        why: what is worth knowing, once it is right.
    """

    number: str
    title: str
    text: str
    minutes: int
    trains: str
    section: str
    hints: tuple[str, str, str]
    why: str

    @property
    def points(self):
        """Two for each started ten minutes, for those who grade."""
        return 2 * -(-self.minutes // 10)


def call(answer, *given):
    """What most tasks compare: what the answer gives back."""
    return answer(*given)


@dataclass(frozen=True, kw_only=True)
class Task(Card):
    """Something to write.

    Args:
        solution: the function or class asked for, by the name that the reader writes. Its
            source is shown, so it uses what ``names`` brings and nothing else of its module.
        cases: yields (in words, arguments), the smallest first; float64, values that a
            pencil can follow, another prime for every axis.
        slips: {sentence: a program that makes this mistake}.
        run: (answer, \\*arguments) → what is compared; calls the answer unless told.
        filled: methods that the reader is given, such as ``__init__``.
        names: imports and helpers that the reader needs, as code.
        shortcuts: functions that would do the whole task, by their full names.
        part: what the answer is in the reader's own model, such as "attention".
    """

    solution: Callable
    cases: Callable
    slips: dict
    run: Callable = call
    filled: tuple[str, ...] = ()
    names: str = ""
    shortcuts: tuple[str, ...] = ()
    part: str = ""

    @property
    def name(self):
        """What the reader calls it."""
        return self.solution.__name__

    @property
    def source(self):
        """The solution as it is shown."""
        return inspect.getsource(self.solution)


@dataclass(frozen=True, kw_only=True)
class Question(Card):
    """A question whose answer is a number or one of some words.

    Args:
        answer: the right one.
        slips: {sentence: the answer that this mistake gives}.
        solution: how one gets there, as code that ends in the answer.
        within: how far off a number may be, as a share of it.
        choices: the words to choose from, if it is no number.
    """

    answer: object
    slips: dict
    solution: str
    within: float = 0.01
    choices: tuple[str, ...] = ()


def pencil(*shape, seed=0):
    """Numbers that a pencil can follow: halves from -2 to 2, float64."""
    dice = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randint(-4, 5, shape, generator=dice).double() / 2
