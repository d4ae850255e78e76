"""The laboratory's engine and data, put beside its modules as the site is built; its benches
inside chapters.

The engine, jax-js, comes from npm, as book/live/package-lock.json pins it. Without npm, or
without a line, the build says so, and the page keeps what it shows without scripts. All other
files are made from the package: its models, the digits, some pictures, chapter 5's curves.
"""

import base64
import csv
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
PAGE = "book/laboratory.html"
MODELS = ("digits", "digits-canvas", "cifar10")
PHOTOGRAPHS = ("chelsea", "astronaut", "coffee", "rocket")
BENCHES = {  # of the laboratory inside chapters, behind the paragraph that speaks of them
    "notebooks/03_attention.html": "pencil",
    "notebooks/04_encoder.html": "stream",
    "notebooks/06_attention_maps.html": "opening",
}
COMPUTES = {PAGE} | {page for page, bench in BENCHES.items() if bench == "opening"}
SPOKEN_OF = re.compile(r'<p>(?:(?!</p>).)*href="[^"]*laboratory\.html#.*?</p>', re.S)


def script(name):
    return f'<script type="module" src="../_static/live/{name}.mjs"></script>\n'


def carried(name, numbers):
    """Numbers that a page brings along, as JSON."""
    return f'<script type="application/json" id="{name}">{json.dumps(numbers)}</script>\n'


def with_bench(html, bench):
    """A chapter's HTML with a bench, which the reader opens."""
    numbers = carried("lab-stream-numbers", stream()) if bench == "stream" else ""
    place = f'<div id="lab-{bench}" class="lab lab-here"></div>\n{numbers}{script("here")}'
    made, count = SPOKEN_OF.subn(lambda found: f"{found[0]}\n{place}", html)
    if count != 1:
        raise ValueError(
            f"expected one paragraph that links the laboratory's {bench}, got {count}"
        )
    return made


def engine(folder):
    """jax-js below a folder, installed where it is not yet; None where it cannot be had."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = (ROOT / "book/live/package-lock.json").read_text("utf-8")
    lock, made = folder / "package-lock.json", folder / "node_modules/@jax-js/jax"
    if made.exists() and lock.exists() and lock.read_text("utf-8") == wanted:
        return made
    shutil.copy(ROOT / "book/live/package.json", folder)
    npm = shutil.which("npm")
    if npm is None:
        return None
    lock.write_text(wanted, "utf-8")
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    if subprocess.run(command, cwd=folder, capture_output=True).returncode:
        lock.unlink()  # tried again at the next build
        return None
    return made


def copy_engine(made, target):
    """The modules that compute in WebAssembly, and the licence."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(made / "LICENSE", target)
    for module in (made / "dist").glob("*.js"):
        if not module.name.startswith("web"):  # webgpu and webgl are asked for by nobody here
            shutil.copy(module, target)


def digits():
    """Pictures of all digits, those to train on first, then their labels: a byte each."""
    from vitbook.data import load

    data = load("digits")
    parts = [data.train.images, data.test.images, data.train.labels, data.test.labels]
    return b"".join(part.numpy().astype("u1").tobytes() for part in parts)


def pictures():
    """{name: bytes in base64, (channel, row, column)}, as the two models see them."""
    from vitbook.data import digits_canvas, load, photograph

    found = {name: photograph(name, size=32) for name in PHOTOGRAPHS}
    canvases = digits_canvas(load("digits").test, 3, seed=2)[0]
    found |= {f"canvas {k}": canvas for k, canvas in enumerate(canvases, 1)}
    raw = {name: picture.numpy().astype(np.uint8).tobytes() for name, picture in found.items()}
    return {name: base64.b64encode(some).decode() for name, some in raw.items()}


def recorded():
    """Loss and accuracy of every epoch of the recorded runs of chapter 5's recipe."""
    runs = []
    for path in sorted(ROOT.glob("vitbook/runs/digits/seed*/history.csv")):
        rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
        columns = {"loss": "loss", "accuracy": "test_accuracy"}
        runs.append({k: [round(float(r[v]), 4) for r in rows] for k, v in columns.items()})
    return runs


def stream():
    """What every part of the digits model adds to its class token, for one held-out digit."""
    import torch

    from vitbook import load_pretrained
    from vitbook.data import load, normalize

    model, test = load_pretrained("digits"), load("digits").test
    names, added = ["embedding"], []
    with torch.no_grad():
        x = model.embeddings(normalize(test.images[:1]))
        added.append(x[0, 0])
        for k, block in enumerate(model.blocks, 1):
            for branch in ("attention", "MLP"):
                part = (
                    block.attn(block.norm1(x))
                    if branch == "attention"
                    else block.mlp(block.norm2(x))
                )
                x = x + part
                names.append(f"block {k}, {branch}")
                added.append(part[0, 0])
    token = f"The class token of the digits model, for a held-out {test.labels[0]}."
    rows = [[round(float(value), 5) for value in part] for part in added]
    return {"names": names, "token": token, "added": rows}


def furnish(app, error):
    """Lay everything beside the modules, and let the page start them."""
    if error or app.builder.name != "html":
        return
    target = Path(app.outdir, "_static/live")
    made = engine(Path(app.outdir).parent / "live")
    if made is None:
        print("npm is not here, or has no line: the laboratory shows what was computed before.")
        return
    copy_engine(made, target / "jax")
    (target / "digits.bin").write_bytes(digits())
    (target / "pictures.json").write_text(json.dumps(pictures()))
    for name in MODELS:
        shutil.copy(ROOT / f"vitbook/weights/{name}.safetensors", target)
    page = Path(app.outdir, PAGE)
    brought = carried("lab-recorded", recorded()) + carried("lab-stream-numbers", stream())
    html = page.read_text("utf-8")
    page.write_text(
        html.replace("<!-- laboratory -->", brought + script("laboratory")), "utf-8"
    )
    for name, bench in BENCHES.items():
        page = Path(app.outdir, name)
        html = page.read_text("utf-8")
        if "lab-here" not in html:  # of a page that was not made anew
            page.write_text(with_bench(html, bench), "utf-8")


def setup(app):
    app.connect("build-finished", furnish)
    return {"parallel_read_safe": True}
