"""What the book says about running times is what was measured: vitbook/runs/times.json."""

import json
import re
from statistics import median

import pytest
import times
from prose import numbers
from test_notebooks import SECONDS

from notebooks import PATHS, prose

RECORD = json.loads(times.RECORD.read_text())["seconds"]
# A chapter gives a round number, and machines differ: it may be off by this factor.
FACTOR = 1.5
WORDS = {
    "a quarter of a minute": 15,
    "half a minute": 30,
    "three quarters of a minute": 45,
    "a minute and a half": 90,
    "a minute": 60,
}
BELOW = 20  # what "in seconds" means


def agrees(said, seconds):
    """Whether a claim in words, such as "in about half a minute", fits a measured time."""
    if re.search(r"\bin seconds\b", said):
        return seconds < BELOW
    value = next((value for words, value in WORDS.items() if words in said), None)
    value = numbers(said)[0].values[0][0] if value is None else value
    return value / FACTOR <= seconds <= value * FACTOR


def claim(text):
    """What a chapter's line on time says about its cells."""
    return re.search(r"\*\*Time\*\* .*? All cells together run ([^.;]*)", text)[1]


@pytest.mark.parametrize(
    ("said", "right", "wrong"),
    [
        ("in seconds", 19, 20),
        ("in about a quarter of a minute on two CPU cores", 20, 25),
        ("in about half a minute", 21, 19),
        ("in about three quarters of a minute", 31, 29),
        ("in about a minute", 89, 91),
        ("in about a minute and a half", 61, 59),
        ("in about eleven seconds", 16, 17),
        ("in about 40 seconds", 27, 26),
    ],
)
def test_rounded_words_are_understood(said, right, wrong):
    assert agrees(said, right) and not agrees(said, wrong)
    assert claim(f"- **Time** about 50 minutes to read. All cells together run {said}.") == said


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_chapter_says_how_long_it_runs(path):
    assert path.stem in RECORD, f"the time of {path.stem} is not recorded: run make times"
    said, seconds = claim(prose(path)), RECORD[path.stem]
    forms = ["in seconds", *(f"in about {words}" for words in WORDS)]
    assert agrees(said, seconds), f"says {said!r}, took {seconds} s: write one of {forms}"
    assert seconds <= SECONDS


def test_the_page_is_written_from_the_record():
    assert RECORD.keys() == {p.stem for p in PATHS}, "a time is missing: run make times"
    text = times.PAGE.read_text("utf-8")
    made = times.part(json.loads(times.RECORD.read_text()))
    assert times.written(text, made) == text, "run python scripts/times.py --page"
    assert "<!-- end of times -->" in text
    changed = json.loads(times.RECORD.read_text())
    changed["seconds"]["04_encoder"] += 1
    assert times.written(text, times.part(changed)) != text


def test_the_page_says_how_long_the_digits_train():
    runs = times.ROOT.glob("vitbook/runs/digits/seed*/summary.json")
    seconds = [json.loads(path.read_text())["seconds"] for path in runs]
    said = re.search(r"vitbook train +# the digits, (.*)", times.PAGE.read_text("utf-8"))[1]
    assert len(seconds) >= 3 and agrees(said, median(seconds))  # some had a busy machine
