"""Predictions and questions: complete, one right answer, waiting on the site only."""

import re

import nbformat
import pytest
from bs4 import BeautifulSoup
from conftest import ROOT

from notebooks import PATHS, tags
from vitbook.exercises import foresee, quiz
from vitbook.exercises.asking import questions

chapters = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def number(path):
    return int(path.stem[:2])


@chapters
def test_each_prediction_takes_an_answer_before_the_next_cell(path):
    known, found = questions(number(path))["predictions"], 0
    everything = nbformat.read(path, 4).cells
    for cell, after in zip(everything, everything[1:], strict=False):
        if cell.cell_type == "markdown" and "**Predict, then run" in cell.source:
            found += 1
            call = f"foresee({number(path)}, {found})"
            assert after.source == call, f"the cell after {cell.id} is {call}, nothing else"
            assert "remove-input" in tags(after), f"{after.id} lacks the tag remove-input"
    assert found == len(known), f"{found} paragraphs predict, the file has {len(known)}"
    for call in (f"quiz({number(path)})", f"tally({number(path)})"):
        (cell,) = [c for c in everything if c.source == call] or [None]
        assert cell, f"{path.stem} lacks a cell with {call}"
        assert "remove-input" in tags(cell), f"{cell.id} lacks the tag remove-input"


@chapters
def test_questions_have_one_right_answer_and_a_reason_for_each_other(path):
    known = questions(number(path))
    assert len(known["quiz"]) == 5, "a quiz has five questions"
    for question in (*known["predictions"], *known["quiz"]):
        where = question["about"]
        assert question["ask"].rstrip().endswith(("?", "…")), f"{where}: ask ends with ?"
        if "choices" in question:
            choices = question["choices"]
            assert 2 <= len(choices) <= 5, f"{where}: two to five choices"
            right = sum(choice.get("right", False) for choice in choices)
            assert right == 1, f"{where}: {right} choices have right: true, one is wanted"
            said = [choice["says"] for choice in choices]
        else:
            missing = {"number", "says", "low", "high"} - set(question)
            assert not missing, f"{where}: without choices it needs {sorted(missing)}"
            said = [question["says"], question["low"], question["high"]]
            assert isinstance(question["number"], int | float), f"{where}: number is no number"
            assert 0 < question.get("within", 0.05) < 0.5, f"{where}: within is a share"
        if "why" in question:
            reasons = question["why"]
            assert 2 <= len(reasons) <= 5, f"{where}: two to five reasons"
            right = sum(reason.get("right", False) for reason in reasons)
            assert right == 1, f"{where}: {right} reasons have right: true, one is wanted"
            assert all(reason["text"].startswith("because ") for reason in reasons), where
            said += [reason["says"] for reason in reasons]
        assert len(set(said)) == len(said), f"{where}: two answers say the same"
        for one in said:
            assert 3 <= len(one.split()) <= 30, f"{where}: three to thirty words: {one}"
            assert one.endswith((".", "?")), f"{where}: ends with a full stop or ?: {one}"


@chapters
def test_two_to_four_predictions_ask_why(path):
    reasons = ["why" in question for question in questions(number(path))["predictions"]]
    assert 2 <= sum(reasons) <= 4, f"{sum(reasons)} predictions have why:"


@chapters
def test_the_right_answer_is_not_always_at_the_same_place(path):
    known = questions(number(path))
    for kind in ("choices", "why"):
        places = [
            [bool(choice.get("right")) for choice in question[kind]].index(True)
            for question in (*known["predictions"], *known["quiz"])
            if kind in question
        ]
        assert len(set(places)) > 1, f"every right answer of {kind} stands at the same place"


NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?|\.\d+")


def values(text):
    return {float(found.replace(",", "")) for found in NUMBER.findall(text)}


@chapters
def test_numbers_in_answers_are_those_of_the_chapter(path):
    """As they stand there, or rounded, or in millions; what one counts on fingers is free."""
    cells, text = nbformat.read(path, 4).cells, ""
    for cell in cells:
        text += f" {cell.source}"
        for output in cell.get("outputs", []):
            text += f" {output.get('text', '')} {output.get('data', {}).get('text/plain', '')}"
    held = values(text)
    known = questions(number(path))
    for question in (*known["predictions"], *known["quiz"]):
        choices = [*question.get("choices", []), *question.get("why", [])]
        said = [choice["says"] for choice in choices]
        said += [choice["text"] for choice in question.get("why", [])]
        said += [question[side] for side in ("says", "low", "high") if side in question]
        for found in (one for sentence in said for one in NUMBER.findall(str(sentence))):
            value, places = float(found.replace(",", "")), len(found.partition(".")[2])
            near = {round(x / scale, places) for x in held for scale in (1, 1e6)}
            said_here = f"an answer says {found}, which the chapter neither says nor prints"
            assert value in near or value <= 12, said_here


def test_what_is_not_asked_is_refused():
    with pytest.raises(ValueError, match="chapter 99 asks nothing"):
        quiz(99)
    with pytest.raises(ValueError, match="chapter 3 has predictions 1 to 4, got 5"):
        foresee(3, 5)


def test_it_can_be_read_without_scripts():
    soup = BeautifulSoup(foresee(3, 1).text, "html.parser")
    assert len(soup.select("ol > li")) == 3 and "Why?" not in soup.text
    assert soup.details.summary.text == "Show me" and "right." in soup.details.text
    assert repr(foresee(3, 1)) == repr(quiz(3))  # no address in it
    soup = BeautifulSoup(foresee(3, 4).text, "html.parser")
    assert len(soup.select("ol > li")) == 4 + 3 and soup.details.text.count("right.") == 2


def page(browser, view, tmp_path):
    """A widget alone in a page, as Colab shows it."""
    file = tmp_path / "page.html"
    file.write_text(f"<!DOCTYPE html><meta charset=utf-8><body>{view.text}", "utf-8")
    opened = browser.new_context().new_page()
    opened.goto(file.as_uri())
    return opened


def test_every_choice_says_its_own(browser, tmp_path):
    opened = page(browser, quiz(3), tmp_path)
    for field, question in zip(
        opened.locator("fieldset").all(), questions(3)["quiz"], strict=True
    ):
        assert field.locator("legend").inner_text() == question["ask"]
        for label, choice in zip(
            field.locator("label").all(), question["choices"], strict=True
        ):
            label.click()
            right = "Yes." if choice.get("right") else "Not so."
            assert field.get_by_role("status").inner_text() == f"{right} {choice['says']}"


def test_a_number_is_told_on_which_side_it_lies(browser, tmp_path):
    opened, question = page(browser, foresee(3, 2), tmp_path), questions(3)["predictions"][1]
    reasons, told = opened.get_by_role("group", name="Why?"), opened.locator(".va-says")
    assert reasons.is_hidden()
    for given, said in (("8.3", "says"), ("4", "low"), ("64", "high")):
        opened.get_by_label("Your number").fill(given)
        opened.keyboard.press("Enter")
        if given == "8.3":
            assert reasons.is_visible() and not told.inner_text(), "the reason comes first"
        reasons.get_by_label("variances add up").check()
        assert question[said] in told.inner_text()


def test_every_reason_says_its_own(browser, tmp_path):
    opened, question = page(browser, foresee(3, 4), tmp_path), questions(3)["predictions"][3]
    opened.get_by_label("where the looker's wish").check()
    group = opened.get_by_role("group", name="Why?")
    for label, reason in zip(group.locator("label").all(), question["why"], strict=True):
        label.click()
        right = "Yes." if reason.get("right") else "Not so."
        told = opened.get_by_role("status").inner_text()
        assert told.startswith("Yes. ") and told.endswith(f"{right} {reason['says']}")


def test_show_me_shows(browser, tmp_path):
    opened = page(browser, foresee(3, 4), tmp_path)
    opened.get_by_role("button", name="Show me").click()
    told = opened.get_by_role("status").inner_text()
    assert told.startswith("where the looker's wish meets the other's name.")
    assert "because the note wanted is with the one" in told


site = pytest.mark.skipif(
    not (ROOT / "_build/html").exists(), reason="no site: make book first"
)


@site
@pytest.mark.parametrize("scripts", [True, False])
def test_what_lies_below_waits_for_an_answer(browser, address, scripts):
    context = browser.new_context(java_script_enabled=scripts)
    opened = context.new_page()
    opened.goto(f"{address}/notebooks/03_attention.html")
    figure, said = opened.locator("#figure-3-1"), opened.get_by_text("Row 1, column 3.").first
    assert figure.is_visible() == said.is_visible() == (not scripts)
    if scripts:
        opened.locator("fieldset").first.locator("input").nth(1).focus()
        opened.keyboard.press("Space")  # by keyboard, and wrong
        assert figure.is_visible() and said.is_visible()
        tally = opened.locator(".va-says", has_text="You foresaw 0 of 1 so far")
        assert "which axis looks" in tally.inner_text()
        opened.reload()
        assert figure.is_visible()
        assert opened.locator("fieldset").first.locator("input").nth(1).is_checked()
        opened.get_by_role("button", name=re.compile("Forget")).click()
        opened.reload()
        assert not figure.is_visible()
        opened.emulate_media(media="print")
        assert figure.is_visible()
    context.close()


@site
def test_reasons_are_counted_and_remembered(browser, address):
    context = browser.new_context()
    opened = context.new_page()
    opened.goto(f"{address}/notebooks/03_attention.html")
    field = opened.locator("fieldset", has_text="standard deviation of q · k").first
    field.get_by_label("Your number").fill("8")
    opened.keyboard.press("Enter")
    assert opened.locator(".va-says", has_text="You foresaw").count() == 0
    field.get_by_label("deviations add up").check()
    tally = opened.locator(".va-says", has_text="You foresaw 1 of 1 so far")
    assert "Of 1 reasons 0 held." in tally.inner_text()
    opened.reload()
    assert field.get_by_label("deviations add up").is_checked()
    assert "Then it would be 64." in field.get_by_role("status").inner_text()
    context.close()
