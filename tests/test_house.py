"""What a newcomer meets first says the same everywhere, and the commands are known twice."""

import re
import subprocess
import sys
import tomllib

import pytest
import yaml
from conftest import ROOT

import tasks
from vitbook.version import __version__


def read(name):
    return yaml.safe_load((ROOT / name).read_text("utf-8"))


def test_address_and_version_are_the_same_everywhere():
    url = read("_config.yml")["repository"]["url"]
    citation = read("CITATION.cff")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert citation["repository-code"] == project["urls"]["Source"] == url
    assert citation["url"] == project["urls"]["Book"]
    assert project["urls"]["Issues"].startswith(url)
    assert project["urls"]["Changes"].startswith(url)
    assert citation["version"] == __version__ and citation["license"] == project["license"]
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_every_python_that_is_promised_is_tested():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = {c.rpartition(" ")[2] for c in project["classifiers"] if "Python :: 3." in c}
    matrix = read(".github/workflows/test.yml")["jobs"]["test"]["strategy"]["matrix"]
    assert set(matrix["python"]) == named


def test_publishing_waits_for_the_tests():
    jobs = read(".github/workflows/publish.yml")["jobs"]
    assert jobs["publish"]["needs"] == "test"
    assert jobs["test"]["uses"] == "./.github/workflows/test.yml"


def test_the_command_is_in_the_package():
    from importlib import import_module

    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    module, _, function = scripts["vitbook"].partition(":")
    assert callable(getattr(import_module(module), function))


def test_make_and_tasks_know_the_same_commands():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    there = re.search(r"^TASKS := (.*)$", makefile, re.M)[1].split()
    assert sorted(there) == sorted(task.__name__ for task in tasks.TASKS)
    assert all(f"make {name}" in makefile.splitlines()[0] for name in there)
    assert all(task.__doc__ for task in tasks.TASKS)


def test_an_unknown_task_is_answered_with_the_known_ones():
    command = [sys.executable, ROOT / "tasks.py", "boook"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 1 and "no task is called boook" in run.stderr
    assert all(task.__name__ in run.stderr for task in tasks.TASKS)


@pytest.mark.parametrize("failing", [0, 1])
def test_the_first_failure_ends_a_task(monkeypatch, failing):
    calls = []

    def runs(command, **options):
        calls.append(command)
        return subprocess.CompletedProcess(command, int(len(calls) - 1 == failing))

    monkeypatch.setattr(tasks.subprocess, "run", runs)
    with pytest.raises(SystemExit):
        tasks.lint()
    assert len(calls) == failing + 1


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob(".github/ISSUE_TEMPLATE/*.yml")), ids=lambda p: p.stem
)
def test_issue_forms_have_what_github_asks_for(path):
    form = yaml.safe_load(path.read_text("utf-8"))
    if path.stem == "config":
        return
    assert {"name", "description", "body"} <= set(form)
    ids = [part["id"] for part in form["body"]]
    assert len(set(ids)) == len(ids)
    for part in form["body"]:
        assert part["type"] in {"input", "textarea", "dropdown", "checkboxes", "markdown"}
        assert part["attributes"]["label"]
