"""The companion notebooks, written from the tasks, and two more editions of them.

    python scripts/companions.py             notebooks/exercises/, with solutions: for all
    python scripts/companions.py student     _build/student/, blanks and checkers only
    python scripts/companions.py instructor  _build/instructor/, with points and misconceptions,
                                             as nbgrader reads it

Cards, solutions and misconceptions live in vitbook/exercises; here they get their places. Run
the notebooks of the first afterwards (``make notebooks``): their outputs go with their text.
"""

import json
import re
import sys
from pathlib import Path

import stamp

from vitbook.exercises import Question
from vitbook.exercises.sources import GIVEN, stub
from vitbook.exercises.tasks import of_chapter

ROOT = Path(__file__).resolve().parents[1]


def companion(chapter, tasks, edition="all"):
    """A notebook, as nbformat keeps it.

    Args:
        chapter: path of the chapter's notebook.
        tasks: its tasks, in their order.
        edition: "all", "student" or "instructor".
    """
    read = json.loads(chapter.read_text(encoding="utf-8"))
    set_up = next(c for c in read["cells"] if "# @title Set-up" in "".join(c["source"]))
    title = "".join(read["cells"][0]["source"]).splitlines()[0].removeprefix("# ")
    cells = [
        text(opening(chapter, title, tasks)),
        code("".join(set_up["source"]), **set_up["metadata"]),
        code(GIVEN.strip() + "\n\nfrom vitbook.exercises import check, progress"),
    ]
    folded = []
    for task in tasks:
        blank, solved, value = pieces(task)
        cells.append(text(card(task, chapter)))
        if edition == "instructor":
            cells += graded(task, blank, solved, value)
            continue
        asked = f'check("{task.number}", {value})'
        cells += asking(task, blank, asked)
        if edition == "all":
            folded.append(len(cells))
            cells += [text(f"### Solution {task.number}"), solution(task, solved, asked)]
    cells.append(code("progress()"))
    for i, cell in enumerate(cells):
        cell["id"] = f"e{chapter.stem[:2]}-{i:03d}"
    kept = {k: read["metadata"][k] for k in ("kernelspec", "language_info")}
    kept["colab"] = {"collapsed_sections": [cells[i]["id"] for i in folded]}
    for i in folded:
        cells[i]["metadata"]["id"] = cells[i]["id"]  # by which Colab finds a section
    return {"cells": cells, "metadata": kept, "nbformat": 4, "nbformat_minor": 5}


def opening(chapter, title, tasks):
    least, most = (end(task.minutes for task in tasks) for end in (min, max))
    address, branch = stamp.repository()
    colab = f"{address.replace('github.com', 'colab.research.google.com/github')}/blob/{branch}"
    hours = f"{sum(task.minutes for task in tasks) / 60:.1f}"
    return f"""# Exercises: {title}

[Open in Colab]({colab}/notebooks/exercises/{chapter.name})

{len(tasks)} tasks for [the chapter](../{chapter.name}), from {least} to {most} minutes, \
about {hours} hours in all. The first numbers are those of the exercises at the chapter's end; \
here you go on counting. Write in the place of `...`, run the cell, and ask `check`. It tries \
your answer on small cases first, and says in words what is wrong. What is right it keeps in \
`my_vit.py`, beside the notebook. Hints come in three steps; the solution is folded."""


def pieces(task):
    """(What the reader finds, what fills it, the name that is checked), as code."""
    if isinstance(task, Question):
        *lines, last = task.solution.strip().splitlines()
        choices = f"  # one of: {', '.join(map(repr, task.choices))}" if task.choices else ""
        return f"answer = ...{choices}", "\n".join([*lines, f"answer = {last}"]), "answer"
    names = f"{task.names.strip()}\n\n\n" if task.names else ""
    return names + stub(task.source, task.filled).strip(), task.source.strip(), task.name


def asking(task, blank, asked):
    """A place to write in, and the question whether it is right; a number needs one cell."""
    if isinstance(task, Question):
        return [code(f"{blank}\n{asked}", tags=["exercise"])]
    return [code(blank, tags=["exercise"]), code(asked)]


def solution(task, solved, asked):
    gap = "\n" if isinstance(task, Question) else "\n\n\n"
    source = f"# @title Solution {task.number}\n{solved}{gap}{asked}"
    return code(source, cellView="form", tags=["hide-cell"])


def graded(task, blank, solved, value):
    """A solution that nbgrader blanks, a check that gives the points, and what goes wrong."""
    marks = {"schema_version": 3, "grade": False, "locked": False, "solution": False}
    filled = f"{blank}\n\n\n### BEGIN SOLUTION\n{solved}\n### END SOLUTION"
    test = f'verdict = check("{task.number}", {value})\nassert verdict.right, verdict'
    name = task.number.replace(".", "-")
    slips = "\n".join(f"- {sentence}" for sentence in task.slips)
    return [
        code(filled, nbgrader=marks | {"grade_id": f"write-{name}", "solution": True}),
        code(
            test,
            nbgrader=marks
            | {
                "grade_id": f"check-{name}",
                "grade": True,
                "locked": True,
                "points": task.points,
            },
        ),
        text(f"**{task.points} points. What the checker knows to go wrong**\n\n{slips}"),
    ]


def card(task, chapter):
    anchor = re.sub(r"[^\w\- ]", "", task.section.lower()).replace(" ", "-")
    hints = "\n".join(
        f"<details><summary>Hint {k}</summary>\n\n{hint}\n\n</details>"
        for k, hint in enumerate(task.hints, 1)
    )
    return f"""## Exercise {task.number}: {task.title}

*About {task.minutes} minutes. Trains {task.trains}. Taught in \
[{task.section}](../{chapter.name}#{anchor}).*

{task.text}

{hints}"""


def text(source):
    return {"cell_type": "markdown", "metadata": {}, "source": source.splitlines(keepends=True)}


def code(source, **metadata):
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": metadata,
        "outputs": [],
        "source": source.splitlines(keepends=True),
    }


def main():
    edition = (sys.argv[1:] or ["all"])[0]
    if edition not in ("all", "student", "instructor"):
        sys.exit(
            f"no edition is called {edition}; known: student, instructor, or nothing for all"
        )
    folder = ROOT / ("notebooks/exercises" if edition == "all" else f"_build/{edition}")
    folder.mkdir(parents=True, exist_ok=True)
    for chapter in sorted((ROOT / "notebooks").glob("0*.ipynb")):
        if tasks := of_chapter(chapter):
            whole = json.dumps(companion(chapter, tasks, edition), indent=1, ensure_ascii=False)
            (folder / chapter.name).write_text(whole + "\n", encoding="utf-8")
    print(f"{edition}: {folder}")


if __name__ == "__main__":
    main()
