"""Tasks of the chapters, and checkers that name the mistake: ``check("3.5", attention)``."""

from vitbook.exercises import chapter_3, chapter_4
from vitbook.exercises.checker import Verdict, judge
from vitbook.exercises.task import Question, Task

TASKS = {task.number: task for chapter in (chapter_3, chapter_4) for task in chapter.TASKS}

__all__ = ["TASKS", "Question", "Task", "Verdict", "check"]


def check(number, answer):
    """Try an answer on the cases of its task, the smallest first.

    Args:
        number: of the task, such as "3.5".
        answer: your function or class; for a question, the number or the word.

    Returns:
        A verdict, which prints as a sentence: right; not attempted; or the smallest case that
        fails, and the likely cause.

    Raises:
        ValueError: no task has this number.
    """
    if str(number) not in TASKS:
        raise ValueError(f"no task is called {number!r}; known: {', '.join(TASKS)}")
    return judge(TASKS[str(number)], answer)
