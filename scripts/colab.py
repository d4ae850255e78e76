"""Rehearse the book as Colab runs it: make colab.

Every notebook runs alone from its set-up cell: with Colab's versions (scripts/colab.txt), in an
empty folder, with google.colab importable, without vitbook and without this repository. The
set-up cell's own command installs the package; only git is told to clone the address in it
from here, so commit first. In the exercises every blank holds its solution. The outcome goes
into vitbook/runs/colab.json and from there into book/how_to_use.md.

    python scripts/colab.py          all notebooks; writes the record and the page
    python scripts/colab.py 03 04    these chapters and their exercises; writes nothing
    python scripts/colab.py --page   writes the page from the record
"""

import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import stamp
from results import ROOT, table, written

PINS, PAGE = ROOT / "scripts/colab.txt", ROOT / "book/how_to_use.md"
RECORD = ROOT / "vitbook/runs/colab.json"
HERE = ROOT / "_build/colab"
PYTHON = HERE / "venv/bin/python"
LONGEST = 30  # seconds that a set-up cell may take
NOTEBOOKS = sorted(ROOT.glob("notebooks/**/0*.ipynb"), key=lambda p: (p.stem, len(p.parts)))


# The environment -----------------------------------------------------------------------------


def pip(*arguments):
    """Whether pip of the environment did it."""
    command = [PYTHON, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    return subprocess.run(command).returncode == 0


def environment():
    """Install Colab's versions; where one cannot be had here, a newer one."""
    ready, wanted = HERE / "ready.txt", PINS.read_text()
    if ready.exists() and ready.read_text() == wanted:
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", HERE / "venv"], check=True)
    if not pip("install", *pinned()) and not pip("install", *map(nearest, pinned())):
        sys.exit("Colab's packages could not be installed: see pip's words above")
    pretend_colab()
    ready.write_text(wanted)


def pinned():
    return [line for line in PINS.read_text().splitlines() if line and line[0] != "#"]


def nearest(pin):
    """The pin where it is to be had for this Python, else any newer version."""
    there = pip("install", "--dry-run", "--no-deps", "--ignore-installed", pin)
    return pin if there else pin.replace("==", ">=")


def pretend_colab():
    """google.colab is there, and loaded before a kernel's first cell, as in Colab."""
    where = subprocess.run(
        [PYTHON, "-c", "import site; print(site.getsitepackages()[0])"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    packages = Path(where.stdout.strip())
    (packages / "google/colab").mkdir(parents=True, exist_ok=True)
    (packages / "google/colab/__init__.py").touch()
    (packages / "colab.pth").write_text("import google.colab\n")


# A rehearsal ---------------------------------------------------------------------------------


def rehearsed(path):
    """What comes of a notebook that finds nothing but Colab: its row of the record."""
    pip("uninstall", "--yes", "vitbook")
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(filled(nbformat.read(path, 4)), f"{folder}/here.ipynb")
        started = time.perf_counter()
        done = subprocess.run(
            [PYTHON, "-m", "nbconvert", "--to", "notebook", "--execute", "--output=there",
             "--log-level=ERROR", "here.ipynb"],
            cwd=folder, env=outside(), capture_output=True, text=True,
        )  # fmt: skip
        seconds = time.perf_counter() - started
        if done.returncode:
            return {"error": done.stderr.strip().splitlines()[-1]}
        run = nbformat.read(f"{folder}/there.ipynb", 4)
    set_up = next(cell for cell in run.cells if "# @title Set-up" in cell.source)
    row = {"seconds": round(seconds), "set_up": round(lasted(set_up))}
    if "exercises" in path.parts:
        verdicts = [said(cell) for cell in run.cells if "\ncheck(" in f"\n{cell.source}"]
        return row | {"right": sum(" right." in v for v in verdicts), "of": len(verdicts)}
    pairs = [(said(a), said(b)) for a, b in zip(compared(path), run.cells, strict=True) if a]
    pairs = [pair for pair in pairs if pair[0]]
    return row | {"same": sum(a == b for a, b in pairs), "of": len(pairs)}


def filled(notebook):
    """A notebook with every solution in its blank, and not once more below."""
    blank, kept = None, []
    for cell in notebook.cells:
        if "exercise" in cell.metadata.get("tags", []):
            blank = cell
        if cell.source.startswith("# @title Solution") and blank:
            solved = cell.source.split("\n", 1)[1]
            if "\ncheck(" in blank.source:  # a number: question and answer in one cell
                blank.source = solved
            else:  # what the blank brings along stays
                blank.source += "\n\n\n" + solved.rsplit("check(", 1)[0].strip()
            blank = None
            continue
        kept.append(cell)
    notebook.cells = kept
    return notebook


def compared(path):
    """The cells of a notebook; None for those that print what a machine decides."""
    for cell in nbformat.read(path, 4).cells:
        yield None if "nbval-ignore-output" in cell.metadata.get("tags", []) else cell


def said(cell):
    """What a cell prints and what its last line gives, as text."""
    return "".join(
        output.get("text", "") or output.get("data", {}).get("text/plain", "")
        for output in cell.get("outputs", [])
        if output.get("name") != "stderr" and "text/html" not in output.get("data", {})
        and "image/png" not in output.get("data", {})
    )  # fmt: skip


def lasted(cell):
    """Seconds from the start of a cell to its end, as the kernel tells them."""
    times = cell.metadata.execution
    start, end = (datetime.datetime.fromisoformat(times[key].replace("Z", "+00:00"))
                  for key in ("iopub.execute_input", "shell.execute_reply"))  # fmt: skip
    return (end - start).total_seconds()


def outside():
    """The variables of a machine that has never seen this book; git clones it from here."""
    ours = ("PYTHON", "VITBOOK", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    address, _ = stamp.repository()
    asked = {"COUNT": "1", "KEY_0": f"url.{ROOT.as_uri()}.insteadOf", "VALUE_0": address}
    return kept | {f"GIT_CONFIG_{name}": value for name, value in asked.items()}


def versions():
    """{package: version} of what was asked for, as it was after all runs."""
    shown = subprocess.run(
        [PYTHON, "-m", "pip", "list", "--format=json"], check=True, capture_output=True
    )
    had = {each["name"].lower(): each["version"] for each in json.loads(shown.stdout)}
    return {name: had[name] for name in (pin.split("==")[0] for pin in pinned())}


# The record ----------------------------------------------------------------------------------


def failed(row):
    """Whether a notebook did not do what it should."""
    return "error" in row or row["set_up"] > LONGEST or row.get("right", row["of"]) < row["of"]


def words(row):
    if "error" in row:
        return row["error"]
    if "right" in row:
        return f"{row['right']} of {row['of']} solutions right"
    return f"runs; {row['same']} of {row['of']} outputs as on the page"


def part(record):
    """The part of the page that is made here."""
    rows = []
    for name, row in record["notebooks"].items():
        title = nbformat.read(ROOT / "notebooks" / name, 4).cells[0].source.splitlines()[0]
        times = [str(row.get(key, "")) for key in ("set_up", "seconds")]
        rows.append([f"[{title.removeprefix('# ')}](../notebooks/{name})", *times, words(row)])
    had = ", ".join(
        f"{name} {record['versions'][name]}" + asked(record["versions"][name], version)
        for name, version in (pin.split("==") for pin in pinned())
    )
    head = ["notebook", "set-up, s", "in all, s", "outcome"]
    said = f"Last rehearsed on {record['date']}, with Python {record['python']} and {had}."
    return {"colab": f"{said}\n\n{table(head, rows)}"}


def asked(had, wanted):
    """A word where another version than Colab's was taken; builds such as +cpu are the same."""
    return "" if had.split("+")[0] == wanted else f" (Colab: {wanted})"


def main(arguments):
    """Rehearse, print the table, and write it down where all notebooks were run."""
    if "--page" not in arguments:
        environment()
        found = {}
        for path in NOTEBOOKS:
            if arguments and path.stem[:2] not in arguments:
                continue
            name = path.relative_to(ROOT / "notebooks").as_posix()
            found[name] = rehearsed(path)
            print(f"{name}: {words(found[name])}; {found[name]}", flush=True)
        if any(failed(row) for row in found.values()) or arguments:
            sys.exit(any(failed(row) for row in found.values()))
        today = datetime.date.today()
        python = ".".join(map(str, sys.version_info[:3]))
        record = {"date": f"{today:%-d %B %Y}", "python": python, "versions": versions()}
        RECORD.write_text(json.dumps(record | {"notebooks": found}, indent=1) + "\n")
    made = part(json.loads(RECORD.read_text()))
    PAGE.write_text(written(PAGE.read_text("utf-8"), made), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
