"""How an answer is judged.

A task has a solution, cases that grow, and slips: programs as learners write them when they
mistake one thing, each with the sentence that names it. A wrong answer that gives what a slip
gives, on every case that both can do, has made that slip. What no slip explains is looked at
as it is: its shape, a constant factor, numbers that are none.
"""

import contextlib
import copy
import io
import pkgutil
import signal
import textwrap
import threading
from dataclasses import dataclass
from unittest import mock

import torch

from vitbook.exercises.sources import is_stub, name_of, where
from vitbook.exercises.task import Question

SECONDS = 5  # then an answer is stopped


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


class Manners(Fault):
    """A sentence about how an answer works, whatever it gives; no slip explains it."""


class Stopped(BaseException):
    """Raised inside an answer that takes too long; ``except Exception`` does not catch it."""


def judge(task, answer):
    """The verdict on an answer."""
    if isinstance(task, Question):
        return judge_question(task, answer)
    if not callable(answer):
        text = f"A function or class is asked for, and this is {kind(answer)}."
        return Verdict(task.number, False, text)
    if is_stub(answer):
        text = f"Write the body of {name_of(answer)}, and ask again."
        return Verdict(task.number, None, text)
    passed = None
    for words, given in task.cases():
        expected = task.run(task.solution, *copies(given))
        try:
            found = called(task, answer, given, task.shortcuts)
            if found is None and expected is not None:
                text = f"{name_of(answer)} gives nothing back: is there a return?"
                return Verdict(task.number, False, text)
            wrong = difference(found, expected)
        except Manners as fault:
            return Verdict(task.number, False, f"Tried with {words}: {sentence(fault)}")
        except Fault as fault:
            wrong = sentence(fault)
        if wrong:
            so_far = f"Right for {passed}. " if passed else ""
            cause = slip(task, answer) or wrong
            return Verdict(task.number, False, f"{so_far}Tried with {words}: {cause}")
        passed = words
    wrong = in_single_precision(task, answer) or gradients(task, answer)
    return Verdict(task.number, not wrong, wrong or task.why)


def judge_question(task, answer):
    """The verdict on a number or a word."""
    if answer is None or answer is ...:
        return Verdict(task.number, None, "Put your answer in the place of ..., and ask again.")
    if task.choices and answer not in task.choices:
        text = f"{answer!r} is none of the choices: {', '.join(task.choices)}."
        return Verdict(task.number, False, text)
    if not task.choices and not is_number(answer):
        return Verdict(
            task.number, False, f"A number is asked for, and this is {kind(answer)}."
        )
    if same_answer(task, answer, task.answer):
        return Verdict(task.number, True, task.why)
    causes = [s for s, value in task.slips.items() if same_answer(task, answer, value)]
    return Verdict(task.number, False, (causes or [form(task, answer)])[0])


def form(task, answer):
    """What is said of an answer that is no known slip: is it only written otherwise?"""
    if not task.choices:
        number = float(f"{float(answer):.6g}")  # a float32 has no more
        if 0 < task.answer < 1 and same_answer(task, number / 100, task.answer):
            return f"{number:g} percent it is; a number from 0 to 1 is asked for."
        digits = f"{number:.9f}".rstrip("0").partition(".")[2]
        if number == round(float(task.answer), len(digits)):
            return f"{number:g} is right as far as it goes; give more digits."
        answer = f"{number:g}"
    return f"{answer} is not it."


def same_answer(task, one, other):
    """Whether two answers to a question count as one."""
    if task.choices:
        return one == other
    return abs(float(one) - float(other)) <= task.within * abs(float(other))


def called(task, answer, given, shortcuts=()):
    """What an answer gives for these arguments.

    Raises:
        Fault: it raises, does not end, takes a shortcut, changes what it is given, prints,
            draws at random, or gives something else each time.
    """
    first, again = (once(task, answer, given, shortcuts) for _ in range(2))
    if first is not None and difference(again, first):
        raise Manners("it gives another result each time: does it keep count somewhere?")
    return first


def once(task, answer, given, shortcuts):
    """One call, watched."""
    own, printed, before = copies(given), io.StringIO(), settings()
    with contextlib.ExitStack() as stack:
        for name in shortcuts:
            refuse_shortcut(stack, name, getattr(answer, "__globals__", {}))
        stack.enter_context(contextlib.redirect_stdout(printed))
        stack.enter_context(stopping())
        stack.enter_context(torch.random.fork_rng(devices=[]))
        try:
            found = task.run(answer, *own)
        except Stopped as stopped:
            text = f"it had not ended after {SECONDS} seconds: a loop without end?"
            raise Manners(text) from stopped
        except Fault:
            raise
        except Exception as error:
            text = f"{where(error, answer)} raises {type(error).__name__}: {error}"
            raise Fault(text) from error
        after = settings()
    if printed.getvalue():
        raise Manners("it prints; give the result back by return, and nothing else")
    for what in before:
        if before[what] != after[what]:
            put_back(before)
            raise Manners(f"it changes {what}, which the rest of the program shares")
    for k, (was, now) in enumerate(zip(given, own, strict=True), 1):
        if isinstance(was, torch.Tensor) and not torch.equal(was, now):
            raise Manners(f"it changes its argument number {k} in place; work on a new tensor")
    return found


def settings():
    """What a function could change behind everybody's back."""
    return {
        "the default dtype": torch.get_default_dtype(),
        "whether gradients are kept": torch.is_grad_enabled(),
        "the state of chance (it draws at random, or sets a seed)": tuple(
            torch.get_rng_state().tolist()
        ),
    }


def put_back(before):
    """Undo what would spoil the answers that come after."""
    torch.set_default_dtype(before["the default dtype"])
    torch.set_grad_enabled(before["whether gradients are kept"])


def refuse_shortcut(stack, name, names):
    """A function that refuses in the place of a shortcut, under whichever name it is known."""

    def refuse(*_, **__):
        raise Manners(f"it calls {name.split('.')[-1]}, which is what you are to write")

    original = pkgutil.resolve_name(name)
    stack.enter_context(mock.patch(name, refuse))
    aliases = [alias for alias, value in names.items() if value is original]
    stack.callback(names.update, dict.fromkeys(aliases, original))
    names.update(dict.fromkeys(aliases, refuse))


@contextlib.contextmanager
def stopping():
    """Inside, code is stopped after some seconds; where there are no alarms, it is not."""
    alarms = hasattr(signal, "setitimer")
    if not alarms or threading.current_thread() is not threading.main_thread():
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


def difference(found, expected):
    """What is wrong with a result, in a sentence; nothing if it is right."""
    if isinstance(expected, dict):
        if not isinstance(found, dict) or found.keys() != expected.keys():
            has = ", ".join(map(str, found)) if isinstance(found, dict) else kind(found)
            return f"a dictionary of {', '.join(map(str, expected))} is asked for, got {has}."
        pairs = {repr(k): (found[k], expected[k]) for k in expected}
        return first_difference(pairs, "under {}: {}")
    if isinstance(expected, tuple | list):
        if not isinstance(found, tuple | list) or len(found) != len(expected):
            got = f"{len(found)}" if isinstance(found, tuple | list) else kind(found)
            return f"{len(expected)} results are asked for, as a tuple, and this is {got}."
        pairs = dict(enumerate(zip(found, expected, strict=True), 1))
        return first_difference(pairs, f"result {{}} of {len(expected)}: {{}}")
    if isinstance(expected, torch.Tensor):
        return tensor_difference(found, expected)
    if is_number(expected):
        if not is_number(found):
            return f"a number is asked for, and this is {kind(found)}."
        both = (torch.tensor([float(n)], dtype=torch.float64) for n in (found, expected))
        return (
            "" if close(*both) else f"it gives {float(found):.4g}, not {float(expected):.4g}."
        )
    return "" if found == expected else f"it gives {found!r}, and {expected!r} is right."


def first_difference(pairs, pattern):
    """The first of some named pairs that differ, in a sentence; nothing if none does."""
    for place, pair in pairs.items():
        if wrong := difference(*pair):
            return pattern.format(place, wrong)
    return ""


def tensor_difference(found, expected):
    """What is wrong with a tensor, the likely cause first; nothing if it is right."""
    if not isinstance(found, torch.Tensor):
        return f"a tensor is asked for, and this is {kind(found)}."
    if found.shape != expected.shape:
        turned = found.ndim > 1 and found.mT.shape == expected.shape
        hint = " Are the last two axes swapped?" if turned else ""
        shapes = f"its shape is {tuple(found.shape)}, and should be {tuple(expected.shape)}."
        return shapes + hint
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
    if not expected.ndim:
        return f"it gives {found:.4g}, not {expected:.4g}."
    place = (found - expected).abs().flatten().argmax().item()
    index = [int(i) for i in torch.unravel_index(torch.tensor(place), found.shape)]
    is_there, belongs = found.flatten()[place], expected.flatten()[place]
    return f"at {index} it gives {is_there:.3f}, and {belongs:.3f} is right."


def close(one, other):
    """Equal but for the rounding of single precision."""
    return torch.allclose(one, other, rtol=2e-4, atol=2e-5, equal_nan=True)


def slip(task, answer):
    """The sentence of the slip that gives what the answer gives; nothing where none does."""
    for cause, program in task.slips.items():
        if explains(task, program, answer):
            return cause
    return ""


def explains(task, program, answer):
    """Whether an answer gives what a slip gives, and the two are wrong somewhere."""
    told_apart = False
    for _, given in task.cases():
        try:
            found = called(task, answer, given)
            same = not difference(found, task.run(program, *copies(given)))
        except Exception:  # one of the two cannot do this case
            continue
        if not same:
            return False
        told_apart |= bool(difference(found, task.run(task.solution, *copies(given))))
    return told_apart


def in_single_precision(task, answer):
    """The largest case in float32, as models compute."""
    *_, (_, given) = task.cases()
    if not any(map(is_float, given)):
        return ""
    single = [t.float() if is_float(t) else t for t in given]
    try:
        found = called(task, answer, single)
        wrong = difference(found, task.run(task.solution, *copies(single)))
    except Fault as fault:
        wrong = sentence(fault)
    return wrong and f"Right in float64, but in float32 {wrong}"


def gradients(task, answer):
    """Whether the result can be learned through, as far as the solution can."""
    *_, (_, given) = task.cases()
    right = learned_through(task, task.solution, given)
    if not right:
        return ""
    try:
        found = learned_through(task, answer, given)
    except Exception as error:
        told = f"{where(error, answer)} raises {type(error).__name__}: {error}"
        return sentence(f"The numbers are right, but where gradients are wanted {told}")
    if not found:
        return "The numbers are right, but no gradient comes through: detach or no_grad?"
    if difference(found, right):
        return "The numbers are right, but gradients are lost on the way: a detach inside?"
    return ""


def learned_through(task, program, given):
    """The gradients of the given tensors, or nothing where a result has none."""
    own = [t.clone().requires_grad_() if is_float(t) else copies([t])[0] for t in given]
    results = task.run(program, *own)
    results = results if isinstance(results, tuple | list) else (results,)
    if not all(isinstance(r, torch.Tensor) and r.requires_grad for r in results):
        return None
    sum((r * torch.arange(r.numel()).view(r.shape).sin()).sum() for r in results).backward()
    return [torch.zeros_like(t) if t.grad is None else t.grad for t in own if is_float(t)]


def is_float(thing):
    """Whether it is a tensor that gradients could run through."""
    return isinstance(thing, torch.Tensor) and thing.is_floating_point()


def is_number(thing):
    """A Python number, or a tensor or array that holds one."""
    try:
        float(thing)
    except (TypeError, ValueError, RuntimeError):
        return False
    return not isinstance(thing, str)


def copies(given):
    """Arguments of one's own."""
    return [copy_of(thing) for thing in given]


def copy_of(thing):
    """A copy that shares nothing with the original."""
    if isinstance(thing, torch.Tensor):
        return thing.clone()
    if isinstance(thing, torch.Generator):
        return thing.clone_state()
    return copy.deepcopy(thing)


def sentence(text):
    """With a full stop, where it has no mark of its own at its end."""
    return str(text) if str(text).endswith((".", "?", "!")) else f"{text}."


def kind(thing):
    """What something is, with its article."""
    name = type(thing).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
