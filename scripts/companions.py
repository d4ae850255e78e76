"""The companion notebooks, written from the tasks: ``python scripts/companions.py``.

One notebook per chapter in notebooks/exercises/: cards, cells to write in, checks, solutions.
Cards and solutions live in vitbook/exercises; here they only get their places. Run the
notebooks afterwards (``make notebooks``), so that their outputs are those of this text.
"""

import json
import re
from pathlib import Path

from vitbook.exercises import TASKS, Question
from vitbook.exercises.sources import GIVEN, stub

COLAB = "https://colab.research.google.com/github/vitbook/vitbook/blob/main/notebooks/exercises"
ROOT = Path(__file__).resolve().parents[1]


def companion(chapter, tasks):
    """A notebook, as nbformat keeps it.

    Args:
        chapter: path of the chapter's notebook.
        tasks: its tasks, in their order.
    """
    read = json.loads(chapter.read_text(encoding="utf-8"))
    set_up = next(c for c in read["cells"] if "# @title Set-up" in "".join(c["source"]))
    title = "".join(read["cells"][0]["source"]).splitlines()[0].removeprefix("# ")
    cells = [
        text(opening(chapter, title, tasks)),
        code("".join(set_up["source"]), **set_up["metadata"]),
        code(GIVEN.strip() + "\n\nfrom vitbook.exercises import check"),
    ]
    folded = []
    for task in tasks:
        cells_of = question if isinstance(task, Question) else write
        head, *middle, heading, solution = cells_of(task, chapter)
        folded.append(len(cells) + 1 + len(middle))
        cells += [head, *middle, heading, solution]
    for i, cell in enumerate(cells):
        cell["id"] = f"e{chapter.stem[:2]}-{i:03d}"
    kept = {k: read["metadata"][k] for k in ("kernelspec", "language_info")}
    kept["colab"] = {"collapsed_sections": [cells[i]["id"] for i in folded]}
    for i in folded:
        cells[i]["metadata"]["id"] = cells[i]["id"]  # by which Colab finds a section
    return {"cells": cells, "metadata": kept, "nbformat": 4, "nbformat_minor": 5}


def opening(chapter, title, tasks):
    least, most = (end(task.minutes for task in tasks) for end in (min, max))
    hours = f"{sum(task.minutes for task in tasks) / 60:.1f}"
    return f"""# Exercises: {title}

[Open in Colab]({COLAB}/{chapter.name})

{len(tasks)} tasks for [the chapter](../{chapter.name}), from {least} to {most} minutes, \
about {hours} hours in all. Write in the place of `...`, run the cell, and ask `check`. It \
tries your answer on small cases first, and says in words what is wrong. Hints come in three \
steps; the solution is folded."""


def write(task, chapter):
    """The cells of something to write."""
    asked = f'check("{task.number}", {task.name})'
    names = f"{task.names.strip()}\n\n\n" if task.names else ""
    yield text(card(task, chapter))
    yield code(names + stub(task.source, task.filled).strip(), tags=["exercise"])
    yield code(asked)
    yield from solution(task, f"{task.source.strip()}\n\n\n{asked}")


def question(task, chapter):
    """The cells of a question."""
    *lines, last = task.solution.strip().splitlines()
    yield text(card(task, chapter))
    choices = f"  # one of: {', '.join(map(repr, task.choices))}" if task.choices else ""
    yield code(f'answer = ...{choices}\ncheck("{task.number}", answer)', tags=["exercise"])
    yield from solution(
        task, "\n".join([*lines, f"answer = {last}", f'check("{task.number}", answer)'])
    )


def solution(task, program):
    yield text(f"#### Solution {task.number}")
    yield code(
        f"# @title Solution {task.number}\n{program}", cellView="form", tags=["hide-cell"]
    )


def card(task, chapter):
    anchor = re.sub(r"[^\w\- ]", "", task.section.lower()).replace(" ", "-")
    hints = "\n".join(
        f"<details><summary>Hint {k}</summary>\n\n{hint}\n\n</details>"
        for k, hint in enumerate(task.hints, 1)
    )
    return f"""## {task.number} {task.title}

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
    for chapter in sorted((ROOT / "notebooks").glob("0*.ipynb")):
        tasks = [t for n, t in TASKS.items() if int(n.split(".")[0]) == int(chapter.stem[:2])]
        if tasks:
            path = ROOT / "notebooks/exercises" / chapter.name
            path.parent.mkdir(exist_ok=True)
            whole = json.dumps(companion(chapter, tasks), indent=1, ensure_ascii=False)
            path.write_text(whole + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
