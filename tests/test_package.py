import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import stamp
import yaml
from conftest import ROOT

PINS = dict(
    line.split("==")
    for line in (ROOT / "requirements.txt").read_text().splitlines()
    if "==" in line and not line.startswith("#")
)


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def number(version):
    return tuple(int(part) for part in re.findall(r"\d+", version))[:3]


def test_import_is_cheap():
    heavy = ["torchvision", "matplotlib", "sklearn", "skimage", "yaml", "PIL"]
    script = f"import sys, vitbook; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def test_imports_point_one_way():
    allowed = {
        "patches": set(),
        "embeddings": {"patches"},
        "attention": set(),
        "encoder": {"attention"},
        "vit": {"attention", "embeddings", "encoder"},
        "compat": set(),
        "locks": set(),
        "published": {"embeddings", "vit"},
        "data/sets": set(),
        "data/augment": set(),
        "data/rand_augment": {"compat"},
        "data/pictures": set(),
        "data/digits": {"data"},
        "data/cache": {"data"},
        "data/folders": {"data"},
        "data/downloads": {"compat", "data", "locks"},
        "data/__init__": {"data"},
        "training/checks": set(),
        "training/loop": {"data", "training"},
        "training/muon": set(),
        "training/parallel": set(),
        "training/weights": {"vit"},
        "training/recipes": {"training", "vit"},
        "training/engine": {"data", "training"},
        "training/whiten": {"data", "patches"},
        "training/start": {"published", "training"},
        "training/runs": {"locks", "training", "version"},
        "training/__init__": {"training"},
        "explain/recorder": {"attention"},
        "explain/maps": set(),
        "explain/flow": set(),
        "explain/gradients": {"explain"},
        "explain/interventions": {"attention", "vit"},
        "explain/learned": set(),
        "explain/methods": {"explain"},
        "explain/__init__": {"explain"},
        "faithfulness": {"patches"},
        "viewer/__init__": {"data", "explain", "training"},
        "report": {"data", "explain", "training"},
        "plot/__init__": set(),
        "plot/diagrams": {"plot"},
    }
    for module, may in allowed.items():
        tree = ast.parse((ROOT / "vitbook" / f"{module}.py").read_text())
        names = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module]
        used = {n.split(".")[1] for n in names if n.startswith("vitbook.")}
        assert used <= may, f"{module} imports {used - may}"


def test_taught_modules_stay_small():
    taught = ["patches", "embeddings", "attention", "encoder", "vit"]
    lines = {m: len((ROOT / "vitbook" / f"{m}.py").read_text().splitlines()) for m in taught}
    assert sum(lines.values()) <= 900 and max(lines.values()) <= 260


def test_pins_satisfy_the_lower_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *extras["book"], *extras["test"]]
    pins = {canonical(name): version for name, version in PINS.items()}
    for requirement in asked:
        name, bound = re.match(r"([\w.-]+)>=([\d.]+)", requirement).groups()
        assert number(pins[canonical(name)]) >= number(bound), requirement
        if upper := re.search(r"<(\d+)", requirement):
            assert number(pins[canonical(name)])[0] < int(upper.group(1))
    assert all("==" not in requirement for requirement in asked), "Colab keeps its own torch"


def test_conda_users_get_the_same_pins():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, packages = environment["dependencies"]
    assert pip == "pip" and packages == {"pip": ["-r requirements.txt", "-e ."]}
    assert re.fullmatch(r"python=3\.1[1-9]", python)


def test_what_is_installed_is_what_is_pinned():
    from importlib.metadata import version

    wrong = {}
    for name, pin in PINS.items():
        installed = version(name).split("+")[0]
        if installed != pin:
            wrong[name] = (installed, pin)
    assert not wrong


def test_address_and_line_numbers_are_stamped():
    stale = [path.name for path in stamp.PAGES if path.read_text() != stamp.stamped(path)]
    assert not stale, "run make stamp"
    assert "vitbook/vitbook" in stamp.stamped(ROOT / "notebooks/01_patches.ipynb")


def test_stamp_follows_the_address(monkeypatch):
    monkeypatch.setattr(stamp, "repository", lambda: ("https://github.com/someone/else", "dev"))
    text = stamp.stamped(ROOT / "notebooks/01_patches.ipynb")
    assert "github/someone/else/blob/dev/notebooks/01_patches.ipynb" in text
    assert "git+https://github.com/someone/else@v" in text
    assert "github.com/vitbook/vitbook" not in text
    assert "someone/else/blob/dev/vitbook/attention.py#L" in stamp.stamped(
        ROOT / "book/equations.md"
    )


def test_every_public_function_says_what_it_does():
    for path in (ROOT / "vitbook").rglob("*.py"):
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree) or path.stem == "version", path
        slips = path.match("exercises/chapter_*.py")  # each has its sentence beside it
        if path.stem == "diagrams" or slips:
            continue
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"


@pytest.mark.parametrize("path", ["test.yml", "publish.yml"])
def test_workflows_use_the_two_commands(path):
    workflow = yaml.safe_load((ROOT / ".github/workflows" / path).read_text())
    steps = [step for job in workflow["jobs"].values() for step in job.get("steps", [])]
    known = {"make book", "python tasks.py test"}
    assert known & {step.get("run") for step in steps}


def test_no_path_of_a_machine_is_committed():
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    for name in tracked.split():
        path = ROOT / name
        if path.suffix in {
            ".ipynb",
            ".py",
            ".md",
            ".yml",
            ".yaml",
            ".json",
            ".csv",
            ".txt",
            ".toml",
        }:
            text = path.read_text()
            assert str(Path.home()) + "/" not in text and str(ROOT) not in text, name
