"""Measure how long every chapter runs, and write it down: make times.

Run it on a machine that does nothing else. The seconds go into vitbook/runs/times.json, and
from there into the table of book/how_to_use.md; a test holds what the chapters say against
them. "python scripts/times.py --page" writes the page from the record, without measuring.
"""

import json
import os
import sys
import tempfile
import time

import nbformat
import torch
from results import ROOT, table, written

from vitbook.training.runs import device_name

RECORD, PAGE = ROOT / "vitbook/runs/times.json", ROOT / "book/how_to_use.md"
CHAPTERS = sorted(ROOT.glob("notebooks/*.ipynb"))


def measure(path):
    """Seconds from the start of a chapter's kernel to its last output, in an empty folder."""
    from nbclient import NotebookClient

    notebook = nbformat.read(path, 4)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, resources={"metadata": {"path": folder}})
        started = time.perf_counter()
        client.execute()
        return time.perf_counter() - started


def part(record):
    """The part of the page that is made here."""
    rows = []
    for path in CHAPTERS:
        title = nbformat.read(path, 4).cells[0].source.splitlines()[0].removeprefix("# ")
        rows.append([f"[{title}](../notebooks/{path.name})", str(record["seconds"][path.stem])])
    said = f"Measured with {record['device']}, {record['how']}."
    return {"times": f"{said}\n\n{table(['chapter', 'seconds'], rows)}"}


def main(arguments):
    """Measure, record, and write the page."""
    if "--page" not in arguments:
        if os.getloadavg()[0] > 0.5:
            print("other work is running here: the times will be too long", file=sys.stderr)
        seconds = {}
        for path in CHAPTERS:
            seconds[path.stem] = round(measure(path))
            print(f"{path.stem}: {seconds[path.stem]} s", flush=True)
        how = "from the start of a kernel to the last output, once for each chapter"
        record = {"how": how, "device": device_name(torch.device("cpu")), "seconds": seconds}
        RECORD.write_text(json.dumps(record, indent=1) + "\n")
    made = part(json.loads(RECORD.read_text()))
    PAGE.write_text(written(PAGE.read_text("utf-8"), made), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
