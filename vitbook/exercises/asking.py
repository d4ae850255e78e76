"""Questions that take an answer before they say one: predictions, and five at a chapter's end.

Their words stand in questions/chapter_N.yaml. Everything is in the HTML, so that it can be
read where scripts are off; asking.mjs makes it wait for an answer.
"""

import functools
import hashlib
import html
import json
import re
from importlib.resources import files

import yaml

from vitbook.viewer import View

LETTERS = "abcdefgh"


@functools.cache
def questions(chapter):
    """{"predictions": [question, …], "quiz": [question, …]} of a chapter.

    A question has ``ask`` and ``about``, and either ``choices``, each {text, says} and one of
    them ``right``, or a ``number`` with what it ``says``, and what is said of one too ``low``
    or ``high``; ``within`` is how far off it may be, as a share of it, .05 if left out. ``why``
    holds choices as well: the reason is asked for before anything is told.

    Raises:
        ValueError: the chapter asks nothing.
    """
    path = files("vitbook") / f"exercises/questions/chapter_{chapter}.yaml"
    if not path.is_file():
        raise ValueError(f"chapter {chapter!r} asks nothing: there is no questions/{path.name}")
    return yaml.safe_load(path.read_text("utf-8"))


def foresee(chapter, place):
    """A prediction of a chapter, counted from 1, to be made before the next cell is run."""
    known = questions(chapter)["predictions"]
    if not 1 <= place <= len(known):
        raise ValueError(f"chapter {chapter} has predictions 1 to {len(known)}, got {place}")
    return asked(chapter, "predictions", [known[place - 1]], place)


def quiz(chapter):
    """Five questions on a chapter's ideas."""
    return asked(chapter, "quiz", questions(chapter)["quiz"], 1)


def tally(chapter):
    """How many predictions of a chapter came true; of what a browser remembers."""
    about = [question["about"] for question in questions(chapter)["predictions"]]
    text = f"<p>This chapter asked for {len(about)} predictions. How many came true?</p>"
    return widget("tally", {"chapter": chapter, "about": about}, text)


def asked(chapter, kind, some, first):
    """Questions as a widget; ``first`` is the number of the first."""
    data = {
        "chapter": chapter,
        "kind": kind,
        "first": first,
        "questions": [prepared(question) for question in some],
    }
    return widget("ask", data, "".join(plain(question) for question in data["questions"]))


def prepared(question):
    """A question with its words as HTML: `code` is the only mark they know."""
    made = dict(question, ask=marked(question["ask"]))
    for kind in ("choices", "why"):
        if kind in question:
            made[kind] = [
                {**choice, "text": marked(choice["text"]), "says": marked(choice["says"])}
                for choice in question[kind]
            ]
    if "choices" not in question:
        made |= {side: marked(question[side]) for side in ("says", "low", "high")}
    return made


def marked(text):
    """Words as HTML: signs escaped, `code` as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(str(text), quote=False))


def plain(question):
    """A question with its answers folded, for where scripts are off."""
    choices, answers = "", f"<p>{question.get('number', 0):g}. {question.get('says')}</p>"
    if "choices" in question:
        choices, answers = listed(question["choices"])
    if "why" in question:
        reasons, told = listed(question["why"])
        choices, answers = f"{choices}<p>Why?</p>{reasons}", f"{answers}<p>Why?</p>{told}"
    folded = f"<details><summary>Show me</summary>{answers}</details>"
    return f"<p>{question['ask']}</p>{choices}{folded}"


def listed(choices):
    """Choices with letters in front, and what is said of each."""
    texts = "".join(f"<li>{choice['text']}</li>" for choice in choices)
    answers = "".join(
        f"<p>{letter}: {'right. ' if choice.get('right') else ''}{choice['says']}</p>"
        for letter, choice in zip(LETTERS, choices, strict=False)
    )
    return f'<ol type="a">{texts}</ol>', answers


def widget(function, data, text):
    """HTML that can be read as it is, its data, and the module that makes it ask."""
    packed = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    mark = "va-" + hashlib.sha256((function + packed).encode()).hexdigest()[:12]
    module = (files("vitbook") / "exercises/asking.mjs").read_text("utf-8")
    return View(
        f'<div class="vitbook-ask" data-key="{mark}">{text}</div>\n'
        f'<script type="application/json" data-for="{mark}">{packed}</script>\n'
        f'<script type="module">\n{module}\nstart("{mark}", {function});\n</script>'
    )
