"""The test of the tests' test, on a package of one module."""

import multiprocessing

import mutants
import pytest

MODULE = '''"""A tiny module."""


def clipped(x, low=2):
    """At least low: two of its faults are never seen."""
    if x < low:
        return low
    return x


def unseen(x):
    return x + 1
'''
TESTS = """
from small.tiny import clipped

def test_below():
    assert clipped(1) == 2

def test_above():
    assert clipped(5) == 5

def test_that_fails_anyhow():
    assert clipped(3) == 4
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    (tmp_path / "small").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "small" / "tiny.py").write_text(MODULE)
    (tmp_path / "tests" / "test_tiny.py").write_text(TESTS)
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    monkeypatch.setattr(mutants, "PACKAGE", "small")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_planted_fault_is_found_and_one_without_effect_is_not(small):
    planted = mutants.faults(small / "small" / "tiny.py")
    found = mutants.verdicts(planted, ["tests/test_tiny.py"])
    assert {fault.change: seen for fault, seen in zip(planted, found, strict=True)} == {
        "2 → 3": True,  # a default is put to the tests of its whole function
        "x < low → x <= low": False,  # equal in effect
        "x < low → x >= low": True,
        "if x < low: → if not x < low:": True,
        "x + 1 → x - 1": False,  # no test runs this line
        "1 → 2": False,
    }
    assert (small / "small" / "tiny.py").read_text() == MODULE
    assert planted[1].text == "if x < low:" and planted[1].file == "small/tiny.py"


def test_a_fault_is_put_to_the_tests_that_run_its_line_the_quickest_first(small):
    with multiprocessing.get_context("fork").Pool(1) as pool:
        lines, seconds = mutants.coverage_map(pool, ["tests/test_tiny.py"])
    compare, added = (mutants.faults(small / "small" / "tiny.py")[i] for i in (1, -2))
    below, above = (f"tests/test_tiny.py::test_{name}" for name in ("below", "above"))
    assert lines["small/tiny.py"][7] == [below]
    assert lines["small/tiny.py"][8] == [above]
    assert mutants.tests_for(compare, lines, {below: 9.0, above: 8.0}) == ([above, below], 17.0)
    assert mutants.tests_for(compare, lines, {below: 15.0, above: 18.0})[0] == [below]
    assert mutants.tests_for(added, {}, seconds) == ([], 0.0)


def test_a_seed_draws_the_same_sample():
    everything = mutants.faults(mutants.ROOT / "vitbook" / "attention.py")
    changes = [[f[:5] for f in mutants.sample(everything, 11, seed)] for seed in (3, 3, 5)]
    assert changes[0] == changes[1] != changes[2] and len(set(map(str, changes[0]))) == 11
    assert mutants.sample(everything, 10**6, 0) == everything


def test_changed_lines_are_read_off_a_diff():
    diff = """\
diff --git a/vitbook/vit.py b/vitbook/vit.py
--- a/vitbook/vit.py
+++ b/vitbook/vit.py
@@ -3 +5,2 @@ def f():
-old
+new
+newer
@@ -19,2 +21,0 @@ def g():
-gone
-gone
@@ -30 +29 @@
-a
+b
diff --git a/vitbook/away.py b/vitbook/away.py
--- a/vitbook/away.py
+++ /dev/null
@@ -1,2 +0,0 @@
-a
-b
"""
    lines = mutants.changed_lines(diff)
    assert lines["vitbook/vit.py"] == {5, 6, 29} and not lines["/dev/null"]


def test_every_answer_is_of_a_fault_that_can_be_and_has_a_reason():
    possible = {
        (f.file, f.text, f.change)
        for module in mutants.MODULES
        for f in mutants.faults(mutants.ROOT / "vitbook" / f"{module}.py")
    }
    answers = mutants.answers()
    assert not set(answers) - possible, "the code has changed: judge these again"
    assert all(len(reason) > 10 for reason in answers.values())
