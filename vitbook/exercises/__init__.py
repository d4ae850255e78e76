"""Tasks of the chapters, and checkers that name the mistake: ``check("3.5", attention)``."""

from dataclasses import replace

from vitbook.exercises.asking import foresee, quiz, tally
from vitbook.exercises.checker import Verdict, judge
from vitbook.exercises.own import assemble, download, keep, progress, trial, upload
from vitbook.exercises.task import Question, Task
from vitbook.exercises.tasks import TASKS

__all__ = [
    "TASKS",
    "Question",
    "Task",
    "Verdict",
    "assemble",
    "check",
    "download",
    "foresee",
    "progress",
    "quiz",
    "tally",
    "trial",
    "upload",
]


def check(number, answer):
    """Try an answer on the cases of its task, the smallest first.

    What is right and was typed into a notebook is kept in my_vit.py.

    Args:
        number: of the task, such as "3.5".
        answer: your function or class; for a question, the number or the word.

    Returns:
        A verdict, which prints as a sentence: right; not attempted; or the smallest case that
        fails, the likely cause, and the section of the chapter to go back to.

    Raises:
        ValueError: no task has this number.
    """
    if str(number) not in TASKS:
        raise ValueError(f"no task is called {number!r}; known: {', '.join(TASKS)}")
    task = TASKS[str(number)]
    verdict = judge(task, answer)
    if verdict.right is False:
        return replace(verdict, text=f"{verdict.text} Stuck? See “{task.section}”.")
    if verdict.right and isinstance(task, Task):
        keep(task, answer)
    return verdict
