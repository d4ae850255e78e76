"""make mutants: plants small faults in the package, one at a time; do the tests find them?

A fault is one changed token: an operator, a comparison, a constant, a call left out, two
branches swapped. A sample of all places is drawn by a seed. Each fault is planted in memory
only, in a process of its own, and put to those unit tests that run its line. What no test
finds is either answered in ``tests/mutants.yaml``, by a reason, or is a gap in the tests.
"""

import argparse
import ast
import copy
import hashlib
import importlib.util
import io
import json
import multiprocessing
import os
import random
import re
import runpy
import signal
import subprocess
import sys
from collections import Counter, namedtuple
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import yaml

ROOT, PACKAGE = Path(__file__).resolve().parent.parent, "vitbook"
MODULES = """patches embeddings attention encoder vit faithfulness data/augment data/rand_augment
data/sets training/loop training/muon training/whiten explain/flow explain/gradients
explain/interventions explain/learned explain/maps explain/methods explain/recorder""".split()
JUDGES = """attention augment broken_models data digits embeddings encoder explain
explain_interventions explain_invariants explain_methods faithfulness patches training values
vit""".split()  # those of engine, recipes, commands and notebooks take too long
SECONDS = 20  # of tests at most for one fault, the quickest first
HEAVY = "torch scipy.stats sklearn.datasets sklearn.metrics skimage.data PIL.Image timm".split()

Fault = namedtuple("Fault", "file line lines text change parent field index new tree")

OTHER = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
         ast.FloorDiv: ast.Div, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr,
         ast.BitOr: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And, ast.Lt: ast.LtE,
         ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
         ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn,
         ast.NotIn: ast.In}  # fmt: skip
TURNED = {ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt}


def changed(node, **fields):
    new = copy.copy(node)
    for field, value in fields.items():
        setattr(new, field, value)
    return new


def variants(node, imported):
    """Every fault that one node can have, as nodes to stand in its place."""
    match node:
        case ast.BinOp() | ast.AugAssign() | ast.BoolOp() if type(node.op) in OTHER:
            yield changed(node, op=OTHER[type(node.op)]())
        case ast.Compare():
            for i, op in enumerate(node.ops):
                for table in (OTHER, TURNED):
                    if type(op) in table:
                        ops = [*node.ops[:i], table[type(op)](), *node.ops[i + 1 :]]
                        yield changed(node, ops=ops)
        case ast.UnaryOp():
            yield node.operand
        case ast.Constant(value=bool()):
            yield changed(node, value=not node.value)
        case ast.Constant(value=int()):
            yield changed(node, value=node.value + 1)
        case ast.Constant(value=float()):
            yield changed(node, value=node.value * 2 or 1.0)
        case ast.IfExp():
            yield changed(node, body=node.orelse, orelse=node.body)
        case ast.If():
            yield changed(node, test=ast.UnaryOp(ast.Not(), node.test))
        case ast.Expr(value=ast.Call()):
            yield ast.Pass()
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name))) if name in imported:
            yield from node.args[:1]
        case ast.Call(func=ast.Attribute(value=inner)):
            yield inner
        case ast.Call(func=ast.Name(id=name)) if name[0].islower():
            yield from node.args[:1]


def shown(node):
    return ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).split("\n")[0]


def faults(path):
    """All faults of one file, in the order of its lines."""
    text = path.read_text("utf-8")
    tree, rows = ast.parse(text), text.splitlines()
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    imported = {a.asname or a.name.split(".")[0] for n in imports for a in n.names}
    found = []

    def visit(parent, lines):
        for field, value in ast.iter_fields(parent):
            for index, node in enumerate(value if isinstance(value, list) else [value]):
                if not isinstance(node, ast.AST) or field in ("annotation", "returns"):
                    continue
                within = lines
                if isinstance(node, ast.stmt):  # of a compound statement, its head
                    body = getattr(node, "body", None)
                    end = max(node.lineno, body[0].lineno - 1) if body else node.end_lineno
                    within = range(node.lineno, end + 1)
                elif isinstance(node, ast.arguments):  # defaults are run by the whole function
                    within = range(parent.lineno, parent.end_lineno + 1)
                statement = isinstance(parent, ast.Expr)  # its call is left out as a whole
                for new in () if statement else variants(node, imported):
                    change = f"{shown(node)} → {shown(new)}"
                    file, line = path.relative_to(ROOT).as_posix(), node.lineno
                    at = index if isinstance(value, list) else None
                    found.append(Fault(file, line, within, rows[line - 1].strip(), change,
                                       parent, field, at, new, tree))  # fmt: skip
                visit(node, within)

    visit(tree, range(0))
    return sorted(found, key=lambda fault: fault.line)


def plant(fault):
    """From now on this process imports the module with the fault in it."""
    if fault.index is None:
        setattr(fault.parent, fault.field, fault.new)
    else:
        getattr(fault.parent, fault.field)[fault.index] = fault.new
    ast.fix_missing_locations(fault.tree)
    path = ROOT / fault.file
    name = ".".join(Path(fault.file).with_suffix("").parts)

    class Loader(importlib.machinery.SourceFileLoader):
        def get_code(self, fullname):
            return compile(fault.tree, path, "exec")

    class Finder:
        @staticmethod
        def find_spec(wanted, *_):
            if wanted == name:
                return importlib.util.spec_from_file_location(
                    name, path, loader=Loader(name, str(path))
                )

    sys.meta_path.insert(0, Finder)


def tested(arguments, plugins=()):
    """The exit status of pytest in this process, without a word."""
    import pytest

    os.chdir(ROOT)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT), *arguments], list(plugins))


def judged(task):
    """Whether these tests find this fault (all of them pass without it)."""
    number, tests, seconds = task
    plant(PLANTED[number])

    def too_long(*_):
        raise TimeoutError("an endless loop")

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(int(60 + 10 * seconds))
    return number, tested(["-x", *tests]) != 0


class Watch:
    """Which lines each test runs, and how many seconds it takes."""

    def __init__(self):
        import coverage

        self.coverage = coverage.Coverage(
            data_file=None, source=[str(ROOT / PACKAGE)], config_file=False
        )
        self.seconds, self.failed = Counter(), set()

    def pytest_runtest_logstart(self, nodeid):
        self.coverage.switch_context(nodeid)

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] += report.duration
        if report.failed:
            self.failed.add(report.nodeid)


def watched(files):
    """{file: {line: tests}} and {test: seconds}, of all tests that pass."""
    watch = Watch()
    with watch.coverage.collect():
        tested(files, [watch])
    data, lines = watch.coverage.get_data(), {}
    for file in data.measured_files():
        by_line = data.contexts_by_lineno(file)
        lines[Path(file).relative_to(ROOT).as_posix()] = {
            line: sorted({t for t in tests if t} - watch.failed)
            for line, tests in by_line.items()
        }
    return lines, dict(watch.seconds)


def coverage_map(pool, files):
    """What ``watched`` says, kept for as long as neither package nor tests change."""
    sources = sorted([*(ROOT / PACKAGE).rglob("*.py"), *(ROOT / "tests").glob("*.py")])
    key = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    kept = ROOT / "_build" / "mutants" / f"{key}.json"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(pool.apply(watched, (files,))))
    lines, seconds = json.loads(kept.read_text())
    return {f: {int(n): t for n, t in of.items()} for f, of in lines.items()}, seconds


def tests_for(fault, lines, seconds):
    """The tests that run a fault's line, the quickest first, as many as there is time for."""
    of = lines.get(fault.file, {})
    names = {t for line in fault.lines for t in of.get(line, ())}
    if not names:  # run at import: every test of the module
        names = {t for tests in of.values() for t in tests}
    chosen, total = [], 0.0
    for name in sorted(names, key=lambda name: (seconds[name], name)):
        if chosen and total + seconds[name] > SECONDS:
            break
        chosen.append(name)
        total += seconds[name]
    return chosen, total


def changed_lines(diff):
    """{file: set of lines} that a ``git diff --unified=0`` adds or changes."""
    found = {}
    for row in diff.splitlines():
        if row.startswith("+++ "):
            lines = found.setdefault(row[4:].removeprefix("b/"), set())
        elif hunk := re.match(r"@@ \S+ \+(\d+)(?:,(\d+))? @@", row):
            start, count = int(hunk[1]), int(hunk[2] or 1)
            lines.update(range(start, start + count))
    return found


def sample(all_faults, count, seed):
    """``count`` faults, always the same ones for a seed, in the order of the files."""
    count = min(count, len(all_faults))
    drawn = random.Random(seed).sample(range(len(all_faults)), count)
    return [all_faults[i] for i in sorted(drawn)]


def answers():
    """{(file, line's text, change): reason} of the committed list."""
    rows = yaml.safe_load((ROOT / "tests" / "mutants.yaml").read_text("utf-8")) or []
    return {(row["file"], row["line"], row["fault"]): row["reason"] for row in rows}


def warm():
    """Import what the tests import, but vitbook: every fault's process is forked from this."""
    compat = runpy.run_path(str(ROOT / "vitbook" / "compat.py"))
    compat["load_torchvision"]("transforms.v2")
    for name in HEAVY:
        importlib.import_module(name)
    return compat  # to be kept: torchvision lives on it


def verdicts(planted, files, jobs=1):
    """Of each fault, whether a test finds it. A line that no test runs hides its faults."""
    global PLANTED
    PLANTED, found = planted, [False] * len(planted)
    with multiprocessing.get_context("fork").Pool(jobs, maxtasksperchild=1) as pool:
        lines, seconds = coverage_map(pool, files)
        tasks = [(i, *tests_for(fault, lines, seconds)) for i, fault in enumerate(planted)]
        tasks = [task for task in tasks if task[1]]
        for done, (number, seen) in enumerate(pool.imap_unordered(judged, tasks, 1), start=1):
            found[number] = seen
            if not seen:
                print(f"{done}/{len(tasks)} ", planted[number].change, flush=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--changed", metavar="BASE", help="lines that differ from BASE only")
    options = parser.parse_args()
    places = [fault for m in MODULES for fault in faults(ROOT / PACKAGE / f"{m}.py")]
    if options.changed:
        command = ["git", "diff", "--unified=0", options.changed, "--", PACKAGE]
        diff = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        lines = changed_lines(diff.stdout)
        places = [fault for fault in places if fault.line in lines.get(fault.file, ())]
    chosen = sample(places, options.count, options.seed)
    torchvision = warm()  # noqa: F841
    files = [f"tests/test_{name}.py" for name in JUDGES]
    known, rows, survived = answers(), {}, []
    for fault, found in zip(chosen, verdicts(chosen, files, options.jobs), strict=True):
        answered = (fault.file, fault.text, fault.change) in known
        verdict = "found" if found else "answered" if answered else "survived"
        rows.setdefault(fault.file, Counter())[verdict] += 1
        if verdict == "survived":
            survived.append(fault)
    rows["all"] = sum(rows.values(), Counter())
    columns = ("found", "answered", "survived")
    print(f"\n{'':36}{'planted':>9}" + "".join(f"{column:>10}" for column in columns))
    for file, row in rows.items():
        print(f"{file:36}{row.total():9}" + "".join(f"{row[column]:10}" for column in columns))
    for fault in survived:
        print(f"\n{fault.file}:{fault.line}  {fault.text}\n    {fault.change}")
    total = rows["all"].total()
    share = 1 - len(survived) / max(1, total)
    print(f"\n{share:.1%} of {total} faults found or answered; {len(places)} places, seed "
          f"{options.seed}")  # fmt: skip
    return share < 0.95


if __name__ == "__main__":
    sys.exit(main())
