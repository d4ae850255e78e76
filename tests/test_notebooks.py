"""Every chapter: its shape, its code, and that it still prints what its page shows."""

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from types import ModuleType, SimpleNamespace

import nbformat
import pytest

import vitbook
from notebooks import PATHS, ROOT, bare, cells, definitions, prose, tags, words

MODULES = {
    "01_patches": ["patches"],
    "02_embeddings": ["embeddings"],
    "03_attention": ["attention"],
    "04_encoder": ["encoder", "vit"],
    "05_training": ["training/loop", "data/augment"],
    "06_attention_maps": [
        *(f"explain/{part}" for part in ("recorder", "maps", "flow", "gradients", "learned")),
        "explain/interventions",
        "faithfulness",
    ],
}
PART_TWO = ["07_published_vit"]  # these use the package; they derive nothing
# Modules that their chapter shows completely, but for these.
COMPLETE = {
    "patches": set(),
    "embeddings": set(),
    "attention": set(),
    "encoder": set(),
    "vit": {"ViTConfig", "check_images", "preset"},
}
# On two idle cores; VITBOOK_PATIENCE stretches it for busy machines.
SECONDS = 90

chapters = pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
core_chapters = pytest.mark.parametrize("path", PATHS[: len(MODULES)], ids=lambda p: p.stem)


def module_definitions(name):
    body = ast.parse((ROOT / "vitbook" / f"{name}.py").read_text("utf-8")).body
    return {n.name: n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef)}


def test_all_chapters_are_there():
    said = "a chapter is named here in MODULES or in PART_TWO, in the order of the files"
    assert [path.stem for path in PATHS] == [*MODULES, *PART_TWO], said


@chapters
def test_every_chapter_is_in_both_lists_of_contents(path):
    for name, piece in (("_toc.yml", path.stem), ("README.md", f"notebooks/{path.name}")):
        assert piece in (ROOT / name).read_text("utf-8"), f"{name} does not name {path.name}"


@core_chapters
def test_chapter_and_module_hold_the_same_code(path):
    taught, compared = definitions(path), 0
    for module in MODULES[path.stem]:
        for name, node in module_definitions(module).items():
            if name in taught:
                assert bare(taught[name]) == bare(node), (
                    f"{path.stem} and vitbook.{module}: {name}"
                )
                compared += 1
            elif module in COMPLETE:
                assert name in COMPLETE[module], f"{path.stem} does not show {module}.{name}"
    assert compared >= 3


def test_a_changed_line_would_be_noticed():
    one, two = (
        ast.parse(f"def f(x):\n    '''{d}'''\n    return x + {n}").body[0]
        for d, n in [("a", 1), ("b", 2)]
    )
    assert bare(one) != bare(two)
    two.body[-1].value.right.value = 1
    assert bare(one) == bare(two)


@chapters
def test_set_up_cell_comes_first_and_is_the_same_everywhere(path):
    first = [cells(p, "code")[0].source for p in (PATHS[0], path)]
    assert first[0] == first[1], f"{path.stem}: its first code cell is not the set-up cell"
    assert "remove-cell" in tags(cells(path, "code")[0])


@pytest.mark.parametrize(
    "tagged, main, asked, told",
    [(0, 0, 1, ""), (1, 0, 2, ""), (1, 1, 2, "vitbook could not be installed.")],
)
def test_set_up_takes_the_tag_else_main_else_says_so(
    monkeypatch, capsys, tagged, main, asked, told
):
    """In Colab, where vitbook is not installed: pip is asked, and answers as it is told."""
    answers, sources = iter((tagged, main)), []

    def run(command, capture_output):
        assert command[:4] == [sys.executable, "-m", "pip", "install"]
        sources.append(command[-1].rsplit("@", 1)[1])
        return SimpleNamespace(returncode=next(answers))

    cell = cells(PATHS[0], "code")[0].source
    monkeypatch.setattr(subprocess, "run", run)
    exec(cell)
    assert not sources  # elsewhere than in Colab
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    exec(cell)
    assert not sources  # what is there stays as it is
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    exec(cell)
    assert sources == [f"v{vitbook.__version__}", "main"][:asked]
    assert capsys.readouterr().out.startswith(told)


@chapters
def test_cells_are_short(path):
    for cell in cells(path, "code"):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert len(lines) <= 15, cell.id


@chapters
def test_prose_has_the_right_length_and_is_plain_markdown(path):
    text = prose(path)
    least, found = 700 if path.stem in PART_TWO else 1500, words(path)
    assert least <= found <= 3800, f"{found} words, not {least} to 3800; is it in PART_TWO?"
    assert not re.search(r"^\s*(:::|```\{)|\{\w+\}`|<img|!\[", text, flags=re.M), (
        "MyST or image"
    )
    for promise in (
        "**You build**",
        "**You need**",
        "**Time**",
        "Predict, then run",
        "## Exercises",
    ):
        assert promise in text, f"{path.stem} lacks {promise!r}"
    for part in ("## What you hold in your hands", "## What comes next"):
        assert part in text, f"{path.stem} lacks {part!r}"
    assert text.count("$$") % 2 == 0


@chapters
def test_every_figure_has_alt_text(path):
    figures = 0
    for cell in cells(path, "code"):
        if any("image/png" in output.get("data", {}) for output in cell.outputs):
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(alt) >= 40, f"{path.stem}, cell {cell.id}: no alt text"
            figures += 1
        for output in cell.outputs:
            html = "".join(output.get("data", {}).get("text/html", ""))
            assert html.count("<svg") == html.count('role="img" aria-label="'), cell.id
    assert figures >= 2, f"{path.stem}: {figures} figures of two at least; has it been run?"
    if path.stem in MODULES:
        assert any("vitbook-diagram" in str(cell.outputs) for cell in cells(path, "code"))


@chapters
def test_every_exercise_has_a_solution_folded_away(path):
    part = prose(path).partition("## Exercises")[2].partition("## What comes next")[0]
    exercises = re.findall(r"^(\d+)\. \*\*", part, flags=re.M)
    code = cells(path, "code")
    titled = [(re.match(r"# @title Solution (\d+)\n", cell.source), cell) for cell in code]
    found = [(title[1], cell) for title, cell in titled if title]
    assert exercises, "no exercise: a paragraph that begins with '1. **Title.**' is one"
    assert exercises == [number for number, _ in found], (
        "each exercise N has a cell that begins with '# @title Solution N', and no other has"
    )
    for number, cell in found:
        assert "hide-cell" in tags(cell), f"solution {number} lacks the tag hide-cell"


@chapters
def test_outputs_come_from_one_full_run(path):
    code = [cell for cell in cells(path, "code") if cell.source.strip()]
    counts = [cell.execution_count for cell in code]
    assert counts == list(range(1, len(code) + 1)), "run it in a new kernel, top to bottom"
    assert not [o for cell in code for o in cell.outputs if o.output_type == "error"]


@chapters
def test_cells_that_are_not_compared_are_listed_with_a_reason(path):
    table = (ROOT / "book/how_to_use.md").read_text("utf-8")
    row = rf"^\| \[(.+?)\]\(\.\./notebooks/{path.stem}\.ipynb#.+?\).*? \| .{{20,}}? \|$"
    ignored, section = [], None
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "markdown":
            section = [section, *re.findall(r"^#+ (.+)$", cell.source, flags=re.M)][-1]
        elif "nbval-ignore-output" in tags(cell):
            ignored.append(section)
    assert ignored == re.findall(row, table, flags=re.M)
    for cell in cells(path, "code"):
        assert not {t for t in tags(cell) if t.startswith("nbval")} - {"nbval-ignore-output"}
        assert "NBVAL" not in cell.source


def test_alone_means_offline(offline):
    script = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
    run = subprocess.run(
        [sys.executable, "-c", script], env=offline, capture_output=True, text=True
    )
    assert "this test runs without network" in run.stderr


@pytest.fixture(scope="session")
def offline(tmp_path_factory):
    """An environment with the installed package alone, no network, and an empty home."""
    home = tmp_path_factory.mktemp("home")
    source = home / "source"  # built from a copy: leftovers of earlier builds stay out
    shutil.copytree(ROOT / "vitbook", source / "vitbook")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(home)]
    command = [sys.executable, "-m", "pip", "wheel", *options, str(source)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = home.glob("vitbook-*.whl")
    site = home / "site"
    zipfile.ZipFile(wheel).extractall(site)
    shutil.copy(ROOT / "tests" / "no_network.py", site / "sitecustomize.py")
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": str(site),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2"),
        "VITBOOK_DATA": str(home / "nothing"),
    }


@chapters
def test_runs_alone_and_prints_what_the_page_shows(path, offline, tmp_path, record_property):
    """Strict nbval, on a copy in an empty folder, offline, with the built wheel."""
    shutil.copy(path, tmp_path)
    command = [sys.executable, "-m", "pytest", "--nbval", "-p", "no:cacheprovider", path.name]
    started = time.perf_counter()
    run = subprocess.run(command, cwd=tmp_path, env=offline, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    again = "\nIf its code or its questions changed, run the chapter again."
    assert run.returncode == 0, run.stdout[-4000:] + again
    print(f"\n{path.stem}: {seconds:.0f} s")
    assert seconds < SECONDS * float(os.environ.get("VITBOOK_PATIENCE", 2))
    assert [p.name for p in tmp_path.iterdir() if p.name != "__pycache__"] == [path.name]


def test_a_changed_output_would_be_noticed(offline, tmp_path):
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print(1 + 1)")])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    output = nbformat.v4.new_output("stream", name="stdout", text="3\n")
    notebook.cells[0].outputs, notebook.cells[0].execution_count = [output], 1
    nbformat.write(notebook, tmp_path / "wrong.ipynb")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval",
        "-p",
        "no:cacheprovider",
        "wrong.ipynb",
    ]
    run = subprocess.run(command, cwd=tmp_path, env=offline, capture_output=True, text=True)
    assert run.returncode == 1, run.stdout
