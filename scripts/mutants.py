"""make mutants: plants small faults in the package, one at a time; do the tests find them?

A fault is one changed token: an operator, a comparison, a constant, a call left out, two
branches swapped. A seed draws a sample of all places. Each fault is planted in memory only,
in a process of its own, and put to those unit tests that run its line. What no test finds is
either answered in ``tests/mutants.yaml``, by a reason, or is a gap in the tests.
"""

import argparse
import ast
import copy
import hashlib
import importlib
import json
import multiprocessing
import os
import re
import runpy
import subprocess
import sys
from collections import Counter, defaultdict, namedtuple
from importlib.machinery import SourceFileLoader
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
# Left to tests of whole runs: commands, and what works for them. The constants of a drawing
# are where its lines stand: taste …
NO_FAULTS = [
    "__main__",
    "compat",
    "report",
    "version",
    "data/downloads",
    *(f"exercises/chapter_{k}" for k in range(1, 7)),  # full of faults that are meant
    "exercises/own",
    "exercises/asking",
    "plot/diagrams",
    "training/engine",
    "training/recipes",
    "training/runs",
    "viewer/__init__",
]
# … and those take too long, or look at something else than the package.
NO_JUDGES = [
    "benchmarks",
    "commands",
    "engine",
    "fine_tuning",
    "mutants",
    "notebooks",
    "numbers",
    "package",
    "recipes",
    "report",
    "results",
    "site",
    "times",
    "viewer",
]
SECONDS = 20  # of tests at most for one fault, the quickest first
SHARE = 0.95  # of the faults has to be found or answered
HEAVY = [
    "torch",
    "scipy.stats",
    "sklearn.decomposition",
    "skimage.data",
    "matplotlib.pyplot",
    "timm",
]

Fault = namedtuple("Fault", "file line text change node new tree lines")

OTHER = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
         ast.FloorDiv: ast.Div, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr,
         ast.BitOr: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And, ast.Lt: ast.LtE,
         ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
         ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn,
         ast.NotIn: ast.In}  # fmt: skip
TURNED = {ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt}


def changed(node, **fields):
    new = copy.copy(node)
    vars(new).update(fields)
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
    tree, rows, found, times = ast.parse(text), text.splitlines(), [], Counter()
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    imported = {a.asname or a.name.split(".")[0] for n in imports for a in n.names}
    file = path.relative_to(ROOT).as_posix()

    def visit(parent, lines):
        for field, value in ast.iter_fields(parent):
            for node in value if isinstance(value, list) else [value]:
                if not isinstance(node, ast.AST) or field in ("annotation", "returns"):
                    continue
                within = lines
                if isinstance(node, ast.stmt):  # of a compound statement, its head
                    body = getattr(node, "body", None)
                    end = max(node.lineno, body[0].lineno - 1) if body else node.end_lineno
                    within = range(node.lineno, end + 1)
                elif isinstance(node, ast.arguments):  # defaults are run by the whole function
                    within = range(parent.lineno, parent.end_lineno + 1)
                whole = isinstance(parent, ast.Expr)  # its call is left out as a statement
                for new in () if whole else variants(node, imported):
                    row, change = node.lineno, f"{shown(node)} → {shown(new)}"
                    times[row, change] += 1
                    turn = f" ({times[row, change]})" if times[row, change] > 1 else ""
                    found.append(Fault(file, row, rows[row - 1].strip(), change + turn, node,
                                       new, tree, within))  # fmt: skip
                visit(node, within)

    visit(tree, ())
    return sorted(found, key=lambda fault: fault.line)


def everywhere():
    files = sorted((ROOT / "vitbook").rglob("*.py"))
    left_out = {ROOT / "vitbook" / f"{name}.py" for name in NO_FAULTS}
    return [fault for file in files if file not in left_out for fault in faults(file)]


def judges():
    left_out = {f"test_{name}.py" for name in NO_JUDGES}
    return sorted(f for f in (ROOT / "tests").glob("test_*.py") if f.name not in left_out)


def apart(function, *arguments, seconds=None):
    """The exit status of a function in a process of its own; that of one too slow is not 0."""
    child = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    child.start()
    child.join(seconds)
    if child.is_alive():
        child.kill()
        child.join()
    return child.exitcode


def tested(arguments, plugins=()):
    """The exit status of pytest in this process, without a word."""
    import pytest

    os.chdir(ROOT)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    options = ["-q", "-p", "no:cacheprovider", f"--rootdir={ROOT}", *map(str, arguments)]
    return int(pytest.main(options, list(plugins)))


class Watch:
    """Which lines each test runs, and how many seconds it takes: of those that pass."""

    def __init__(self):
        import coverage

        source = [str(ROOT / "vitbook")]
        self.coverage = coverage.Coverage(data_file=None, source=source, config_file=False)
        self.seconds, self.failed = Counter(), set()

    def pytest_runtest_logstart(self, nodeid):
        self.coverage.switch_context(nodeid)

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] += report.duration
        if report.failed:
            self.failed.add(report.nodeid)


def watched(file, kept):
    """Write down ``{test: [seconds, {file: lines}]}`` of one file of tests."""
    watch = Watch()
    with watch.coverage.collect():
        tested([file], [watch])
    data, rows = watch.coverage.get_data(), {}
    for test in set(watch.seconds) - watch.failed:
        data.set_query_context(test)
        files = data.measured_files()
        lines = {Path(f).relative_to(ROOT).as_posix(): data.lines(f) for f in files}
        rows[test] = [watch.seconds[test], lines]
    kept.write_text(json.dumps(rows))


def tests_by_line():
    """``{(file, line): tests}`` and ``{test: seconds}``, kept until package or tests change."""
    package = [*(ROOT / "vitbook").rglob("*.py"), *(ROOT / "tests").glob("[!t]*.py")]
    by_line, seconds = defaultdict(set), {}
    for judge in judges():
        content = b"".join(path.read_bytes() for path in [*sorted(package), judge])
        key = hashlib.sha256(content).hexdigest()[:12]
        kept = ROOT / "_build" / "mutants" / f"{judge.stem}-{key}.json"
        kept.parent.mkdir(parents=True, exist_ok=True)
        if not kept.exists():
            apart(watched, judge, kept)
        for test, (taken, files) in json.loads(kept.read_text()).items():
            seconds[test] = taken
            for file, lines in files.items():
                for line in lines:
                    by_line[file, line].add(test)
    return by_line, seconds


def tests_for(fault, by_line, seconds):
    """The tests that run a fault's line, the quickest first, as many as there is time for."""
    names = set().union(*(by_line.get((fault.file, line), ()) for line in fault.lines))
    if not names:  # run at import: every test of the module
        names = set().union(*(t for (file, _), t in by_line.items() if file == fault.file))
    chosen, total = [], 0.0
    for name in sorted(names, key=lambda name: (seconds[name], name)):
        if chosen and total + seconds[name] > SECONDS:
            break
        chosen.append(name)
        total += seconds[name]
    return chosen, total


def judged(fault, tests):
    """Import the module with the fault in it from now on, and run the tests."""
    fault.node.__class__, fault.node.__dict__ = type(fault.new), vars(fault.new)
    ast.fix_missing_locations(fault.tree)
    path, as_it_is = str(ROOT / fault.file), SourceFileLoader.get_code

    def get_code(self, name):
        return compile(fault.tree, path, "exec") if self.path == path else as_it_is(self, name)

    SourceFileLoader.get_code = get_code
    sys.exit(tested(["-x", *tests]))


def found(fault, by_line, seconds):
    """Whether a test fails or never ends with a fault. A line that no test runs hides it."""
    tests, total = tests_for(fault, by_line, seconds)
    return bool(tests) and apart(judged, fault, tests, seconds=60 + 5 * total) != 0


def changed_lines(diff):
    """``{(file, line)}`` that a ``git diff --unified=0`` adds or changes."""
    rows, file = set(), None
    for row in diff.splitlines():
        if row.startswith("+++ "):
            file = row[4:].removeprefix("b/")
        elif hunk := re.match(r"@@ \S+ \+(\d+)(?:,(\d+))? @@", row):
            rows |= {(file, int(hunk[1]) + i) for i in range(int(hunk[2] or 1))}
    return rows


def sample(places, count, seed):
    """``count`` faults, in the order of the files; a change elsewhere draws no others."""

    def lot(fault):
        name = f"{seed} {fault.file} {fault.text} {fault.change}"
        return hashlib.sha256(name.encode()).digest()

    drawn = set(map(id, sorted(places, key=lot)[:count]))
    return [fault for fault in places if id(fault) in drawn]


def answers():
    """``{(file, line's text, change): reason}`` of the committed list."""
    rows = yaml.safe_load((ROOT / "tests" / "mutants.yaml").read_text("utf-8")) or []
    return {(row["file"], row["line"], row["fault"]): row["reason"] for row in rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "modules", nargs="*", help="judge faults of files with these names only"
    )
    parser.add_argument("--count", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--changed", metavar="BASE", help="draw from lines changed since BASE")
    options = parser.parse_args()
    places = everywhere()
    if options.changed:
        command = ["git", "diff", "--unified=0", options.changed, "--", "vitbook"]
        diff = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        lines = changed_lines(diff.stdout)
        places = [fault for fault in places if (fault.file, fault.line) in lines]
    chosen = sample(places, options.count, options.seed)
    if options.modules:
        chosen = [f for f in chosen if any(name in f.file[8:] for name in options.modules)]
    # Every process is forked from this one, in which all but vitbook has been imported.
    load = runpy.run_path(str(ROOT / "vitbook" / "compat.py"))["load_torchvision"]
    load("transforms.v2")
    for name in HEAVY:
        importlib.import_module(name)
    known, rows, (by_line, seconds) = answers(), defaultdict(Counter), tests_by_line()
    for fault in chosen:
        verdict = "found" if found(fault, by_line, seconds) else "not found"
        if verdict == "not found" and fault[0:1] + fault[2:4] in known:
            verdict = "answered"
        rows[fault.file][verdict] += 1
        if verdict != "found":
            print(f"{fault.file}:{fault.line}  {fault.text}\n    {verdict}: {fault.change}")
    rows["all"] = total = sum(rows.values(), Counter())
    print(f"\n{'':34}{'found':>10}{'answered':>10}{'not found':>10}")
    for file, row in rows.items():
        print(f"{file:34}{row['found']:10}{row['answered']:10}{row['not found']:10}")
    share = 1 - total["not found"] / max(1, total.total())
    print(f"{share:.1%} of {total.total()} faults found or answered")
    print(f"seed {options.seed}, drawn from {len(places)} places")
    return share < SHARE


if __name__ == "__main__":
    sys.exit(main())
