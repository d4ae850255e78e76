"""What the laboratory takes: a training step, an answer, a whole training to 95%.

    .venv/bin/python benchmarks/laboratory.py [--record] [seed ...]

Drives the built page in Chromium as a reader would, on a machine that does nothing else. The
seconds to 95% are those until the share of held-out digits first reaches it, compiling
included, for each seed; the accuracy is the last epoch's. With --record the accuracies go into
vitbook/runs/laboratory.json, beside a mark of the modules that made them: a test compares them
with chapter 5's, and asks for a new record when a module has changed.
"""

import argparse
import hashlib
import json
import re
import statistics
import sys

import page_weight

sys.path.insert(0, str(page_weight.ROOT / "scripts"))
import chromium

PAGE = "book/laboratory.html"
RECORD = page_weight.ROOT / "vitbook/runs/laboratory.json"
LEARNS = ("vit", "files", "training", "worker")  # the modules that a training consists of


def mark():
    """A hash of what trains in the page: our modules, and which engine they run on."""
    live = page_weight.ROOT / "book/_static/live"
    parts = [
        *(live / f"{name}.mjs" for name in LEARNS),
        live.parents[1] / "live/package-lock.json",
    ]
    return hashlib.sha256(b"".join(path.read_bytes() for path in parts)).hexdigest()


def trained(view, seed):
    """(seconds a step, seconds until 95%, accuracy after 60 epochs) of one training."""
    learning = view.locator("#lab-learning")
    learning.get_by_label("seed").fill(str(seed))
    learning.get_by_role("button", name="Start again").click()
    view.wait_for_timeout(2000)
    learning.get_by_role("button", name="Train", exact=True).click()
    told, reached = "", None
    while "Epoch 60, step 1380" not in told:
        view.wait_for_timeout(250)
        told = learning.locator(".lab-says").inner_text()
        share = re.search(r"([\d.]+)%", told)
        seconds = re.search(r"(\d+) s:", told)
        if reached is None and share and float(share[1]) >= 95:
            reached = int(seconds[1])
    return int(seconds[1]) / 1380, reached, float(share[1])


def answers(view, model):
    """Milliseconds from a covered patch to the answer, as the page counts them: a median."""
    view.locator("#lab-opening select").first.select_option(model)
    says = view.locator("#lab-opening .lab-says")
    says.filter(has_text="Now change something").wait_for(timeout=60_000)
    view.get_by_label("press a patch to").select_option("cover")
    big, taken = view.locator(".lab-big"), []
    box = big.bounding_box()
    for k in range(9):
        big.click(position={"x": box["width"] * (0.1 + 0.09 * k), "y": box["height"] / 2})
        view.wait_for_timeout(500)
        taken.append(int(says.get_attribute("data-milliseconds")))
    return statistics.median(taken)


def main(seeds, record):
    """Print a line for each."""
    from playwright.sync_api import sync_playwright

    with page_weight.serve() as address, sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=options)
        view = browser.new_page(viewport={"width": 1280, "height": 900})
        view.goto(f"{address}/{PAGE}")
        for model in ("digits-canvas", "cifar10"):
            print(f"{model}: an answer after {answers(view, model)} ms", flush=True)
        shares = {}
        for seed in seeds:
            step, reached, share = trained(view, seed)
            to95 = f"95% after {reached} s" if reached else "95% not reached"
            print(f"seed {seed}: {1000 * step:.0f} ms a step, {to95}, {share}% at the end")
            shares[seed] = round(share / 100, 4)
        browser.close()
    if record:
        about = {"mark": mark(), "epochs": 60, "test_accuracy_last_epoch": shares}
        RECORD.write_text(json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("seeds", nargs="*", type=int, default=[0], metavar="seed")
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args()
    main(given.seeds, given.record)
