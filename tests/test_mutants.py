"""The test of the tests' test, on a package of one module."""

import os
import subprocess
import sys
import time
from pathlib import Path

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
from vitbook.tiny import clipped

def test_below():
    assert clipped(1) == 2

def test_above():
    assert clipped(5) == 5

def test_that_fails_anyhow():
    assert clipped(3) == 4
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    (tmp_path / "vitbook").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "vitbook" / "tiny.py").write_text(MODULE)
    (tmp_path / "tests" / "test_tiny.py").write_text(TESTS)
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    return tmp_path


BELOW, ABOVE = (f"tests/test_tiny.py::test_{name}" for name in ("below", "above"))


def test_a_fault_is_put_to_the_tests_that_run_its_line_the_quickest_first(small):
    planted = mutants.faults(small / "vitbook" / "tiny.py")
    assert [fault.change for fault in planted] == [
        "2 → 3", "if x < low: → if not x < low:", "x < low → x <= low", "x < low → x >= low",
        "x + 1 → x - 1", "1 → 2",
    ]  # fmt: skip
    compare, added = planted[2], planted[-1]
    assert compare.text == "if x < low:" and compare.file == "vitbook/tiny.py"
    by_line = {(compare.file, compare.line): {BELOW, ABOVE}}
    assert mutants.tests_for(compare, by_line, {BELOW: 9.0, ABOVE: 8.0}) == (
        [ABOVE, BELOW],
        17.0,
    )
    assert mutants.tests_for(compare, by_line, {BELOW: 15.0, ABOVE: 18.0})[0] == [BELOW]
    assert mutants.tests_for(added, {}, {}) == ([], 0.0)
    assert not mutants.found(added, {}, {})


def test_a_process_that_hangs_or_fails_is_no_success():
    assert mutants.apart(time.sleep, 0) == 0
    assert mutants.apart(time.sleep, 60, seconds=0.2) != 0
    assert mutants.apart(sys.exit, 3) == 3


def test_a_planted_fault_is_found_and_one_without_effect_is_not(small):
    """In a process of its own, where no package of this name has been imported."""
    code = (
        "import sys, pathlib; sys.path[:0] = sys.argv[1:]; import mutants\n"
        "mutants.ROOT = pathlib.Path(sys.argv[1])\n"
        "by_line, seconds = mutants.tests_by_line()\n"
        "for fault in mutants.everywhere(): print(mutants.found(fault, by_line, seconds))\n"
    )
    scripts = str(Path(mutants.__file__).parent)
    command = [sys.executable, "-c", code, str(small), scripts]
    plain = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, env=plain, check=True)
    # a default is put to the tests of its whole function; <= is equal in effect; the last
    # two stand in a line that no test runs
    assert done.stdout.split() == ["True", "True", "False", "True", "False", "False"]
    assert (small / "vitbook" / "tiny.py").read_text() == MODULE


def test_a_seed_draws_the_same_sample():
    everything = mutants.faults(mutants.ROOT / "vitbook" / "attention.py")
    changes = [[f[:4] for f in mutants.sample(everything, 11, seed)] for seed in (3, 3, 5)]
    assert changes[0] == changes[1] != changes[2] and len(set(map(str, changes[0]))) == 11
    assert len(mutants.sample(everything, 10**6, 0)) == len(everything)
    fewer = [f[:4] for f in mutants.sample(everything[7:], 11, 3)]  # as after a change
    kept = [c for c in changes[0] if c in [f[:4] for f in everything[7:]]]
    assert set(kept) <= set(fewer)


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
    assert mutants.changed_lines(diff) == {("vitbook/vit.py", line) for line in (5, 6, 29)}


def test_every_answer_is_of_a_fault_that_can_be_and_has_a_reason():
    possible = {f[0:1] + f[2:4] for f in mutants.everywhere()}
    answers = mutants.answers()
    assert not set(answers) - possible, "the code has changed: judge these again"
    assert all(len(reason) > 10 for reason in answers.values())
