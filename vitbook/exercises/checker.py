"""How an answer is judged.

A task has a solution, cases that grow, and slips: programs as learners write them when they
mistake one thing, each with the sentence that names it. A wrong answer that gives what a slip
gives, on every case that both can do, has made that slip. What no slip explains is looked at
as it is: its shape, a constant factor, numbers that are none.
"""

import ast
import contextlib
import inspect
import io
import linecache
import signal
import textwrap
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from unittest import mock

import torch

SECONDS = 5  # then an answer is stopped


@dataclass(frozen=True)
class Task:
    """One thing to write.

    Args:
        number: chapter and place, such as "3.5".
        title: what it is.
        solution: the function asked for; a name in the chapter's module.
        cases: yields (in words, arguments), the smallest first; float64, values that a
            pencil can follow, another prime for every axis.
        slips: {sentence: a program that makes this mistake}.
        why: what is worth knowing, once it is right.
        shortcuts: functions that would do the whole task, by their full names.
    """

    number: str
    title: str
    solution: Callable
    cases: Callable
    slips: dict
    why: str
    shortcuts: tuple = field(default=())


@dataclass(frozen=True)
class Verdict:
    """What came out: ``right`` is True, False, or None where nothing was attempted."""

    number: str
    right: bool | None
    text: str

    def __repr__(self):
        head = {True: "right", False: "not yet", None: "not attempted"}[self.right]
        return textwrap.fill(f"{self.number} {head}. {self.text}", 86)


class Fault(Exception):
    """A sentence about an answer that cannot be compared."""


class Stopped(BaseException):
    """Raised inside an answer that takes too long; ``except Exception`` does not catch it."""


def judge(task, answer):
    """The verdict on an answer."""
    if not callable(answer):
        text = f"A function is asked for, and this is {kind(answer)}."
        return Verdict(task.number, False, text)
    if is_stub(answer):
        return Verdict(
            task.number, None, f"Write the body of {name_of(answer)}, and ask again."
        )
    passed = None
    for words, given in task.cases():
        expected = task.solution(*copies(given))
        try:
            found = called(answer, given, task.shortcuts)
            if found is None:
                text = f"{name_of(answer)} gives nothing back: is there a return?"
                return Verdict(task.number, False, text)
            wrong = difference(found, expected)
        except Fault as fault:
            wrong = str(fault)
        if wrong:
            so_far = f"Right for {passed}. " if passed else ""
            cause = slip(task, answer) or wrong
            return Verdict(task.number, False, f"{so_far}Tried with {words}: {cause}")
        passed = words
    wrong = in_single_precision(task, answer) or gradients(task, answer)
    return Verdict(task.number, not wrong, wrong or task.why)


def is_stub(answer):
    """Whether a function's body is still empty."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(answer))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):
        return False  # no source to look at
    if not isinstance(tree, ast.FunctionDef):
        return False
    empty = ("...", "pass", "raise NotImplementedError", "raise NotImplementedError()")
    return all(
        ast.unparse(line) in empty
        or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
        for line in tree.body
    )


def called(answer, given, shortcuts=()):
    """What an answer gives for these arguments.

    Raises:
        Fault: it raises, does not end, takes a shortcut, changes what it is given, prints, or
            gives something else each time.
    """
    first, again = (once(answer, given, shortcuts) for _ in range(2))
    if isinstance(first, torch.Tensor | tuple) and difference(first, again):
        raise Fault("it gives another result each time: does it draw at random, or keep count?")
    return first


def once(answer, given, shortcuts):
    """One call, watched."""
    own, printed = copies(given), io.StringIO()
    with contextlib.ExitStack() as stack:
        for name in shortcuts:
            stack.enter_context(mock.patch(name, refusing(name)))
        stack.enter_context(contextlib.redirect_stdout(printed))
        stack.enter_context(stopping())
        try:
            found = answer(*own)
        except Stopped as stopped:
            raise Fault(
                f"it had not ended after {SECONDS} seconds: a loop without end?"
            ) from stopped
        except Fault:
            raise
        except Exception as error:
            raise Fault(
                f"{where(error, answer)} raises {type(error).__name__}: {error}"
            ) from error
    for k, (before, after) in enumerate(zip(given, own, strict=True), 1):
        if isinstance(before, torch.Tensor) and not torch.equal(before, after):
            raise Fault(f"it changes its argument number {k} in place; work on a new tensor")
    if printed.getvalue():
        raise Fault("it prints; give the result back by return, and nothing else")
    return found


def refusing(name):
    """A function in the place of a shortcut."""

    def refuse(*_, **__):
        raise Fault(f"it calls {name.split('.')[-1]}, which is what you are to write")

    return refuse


@contextlib.contextmanager
def stopping():
    """Inside, code is stopped after some seconds; where there are no alarms, it is not."""
    if (
        not hasattr(signal, "setitimer")
        or threading.current_thread() is not threading.main_thread()
    ):
        yield
        return

    def stop(*_):
        raise Stopped

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def where(error, answer):
    """The line of the answer in which an error arose."""
    file = getattr(getattr(answer, "__code__", None), "co_filename", None)
    frame, line = error.__traceback__, None
    while frame:
        if frame.tb_frame.f_code.co_filename == file:
            line = linecache.getline(file, frame.tb_lineno).strip()
        frame = frame.tb_next
    return f"`{line}`" if line else "it"


def difference(found, expected):
    """What is wrong with a result, in a sentence; nothing if it is right."""
    if isinstance(expected, tuple):
        if not isinstance(found, tuple | list) or len(found) != len(expected):
            return (
                f"{len(expected)} results are asked for, as a tuple, and this is {kind(found)}."
            )
        for k, pair in enumerate(zip(found, expected, strict=True), 1):
            if wrong := difference(*pair):
                return f"result {k} of {len(expected)}: {wrong}"
        return ""
    if not isinstance(found, torch.Tensor):
        return f"a tensor is asked for, and this is {kind(found)}."
    if found.shape != expected.shape:
        turned = found.mT.shape == expected.shape if found.ndim > 1 else False
        hint = " Are the last two axes swapped?" if turned else ""
        return (
            f"its shape is {tuple(found.shape)}, and should be {tuple(expected.shape)}.{hint}"
        )
    found, expected = found.detach().double(), expected.detach().double()
    if not found.isfinite().all() and expected.isfinite().all():
        return "some of the numbers are nan or inf."
    if close(found, expected):
        return ""
    if found.ndim > 1 and found.shape[-1] == found.shape[-2] and close(found.mT, expected):
        return "rows and columns are swapped."
    big = expected.abs() > 1e-3 * expected.abs().max()
    shares = found[big] / expected[big]
    if shares.numel() > 1 and close(shares, shares.mean().expand_as(shares)):
        return f"right up to a factor of {shares.mean():.3g}."
    place = (found - expected).abs().flatten().argmax().item()
    index = [int(i) for i in torch.unravel_index(torch.tensor(place), found.shape)]
    return (
        f"at {index} it gives {found.flatten()[place]:.3f}, and {expected.flatten()[place]:.3f} "
        "is right."
    )


def close(one, other):
    """Equal but for the rounding of single precision."""
    return torch.allclose(one, other, rtol=2e-4, atol=2e-5, equal_nan=True)


def slip(task, answer):
    """The sentence of the slip that gives what the answer gives, wherever it gives something."""
    for sentence, program in task.slips.items():
        alike = 0
        for _, given in task.cases():
            try:
                found = called(answer, given)
                same = not difference(found, program(*copies(given)))
            except Exception:  # one of the two cannot do this case
                continue
            if not same:
                break
            alike += not_right(found, task.solution(*copies(given)))
        else:
            if alike:
                return sentence
    return ""


def not_right(found, expected):
    """1 where a case tells a slip from the solution, else 0."""
    return int(bool(difference(found, expected)))


def in_single_precision(task, answer):
    """The largest case in float32, as models compute."""
    *_, (_, given) = task.cases()
    single = [t.float() if is_float(t) else t for t in given]
    try:
        wrong = difference(called(answer, single), task.solution(*single))
    except Fault as fault:
        wrong = str(fault)
    return wrong and f"Right in float64, but in float32 {wrong}"


def gradients(task, answer):
    """Whether the result can be learned through, as the solution can."""
    *_, (_, given) = task.cases()
    found = []
    for program in (task.solution, answer):
        own = [t.clone().requires_grad_() if is_float(t) else t for t in given]
        results = program(*own)
        results = results if isinstance(results, tuple | list) else (results,)
        if not all(r.requires_grad for r in results):
            return "The numbers are right, but no gradient comes through: detach or no_grad?"
        sum((r * torch.arange(r.numel()).view(r.shape).sin()).sum() for r in results).backward()
        found.append(
            [t.grad if t.grad is not None else torch.zeros_like(t) for t in own if is_float(t)]
        )
    if any(difference(b, a) for a, b in zip(*found, strict=True)):
        return "The numbers are right, but gradients are lost on the way: a detach inside?"
    return ""


def is_float(thing):
    return isinstance(thing, torch.Tensor) and thing.is_floating_point()


def copies(given):
    """Arguments of one's own."""
    return [t.clone() if isinstance(t, torch.Tensor) else t for t in given]


def kind(thing):
    """What something is, with its article."""
    name = type(thing).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def name_of(answer):
    return getattr(answer, "__name__", "your function")


def pencil(*shape, seed=0):
    """Numbers that a pencil can follow: halves from -2 to 2, float64."""
    dice = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randint(-4, 5, shape, generator=dice).double() / 2
