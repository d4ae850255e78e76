"""The commands of this repository, the same on every system: python tasks.py book.

The Makefile calls this file; where there is no make, on Windows for one, call it yourself.
Needs nothing but Python: the first command makes .venv and installs the pins into it.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
BIN = ROOT / ".venv" / ("Scripts" if os.name == "nt" else "bin")
READY = ROOT / ".venv/ready"
PINNED = ("requirements.txt", "pyproject.toml")
PROSE = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "vitbook", "tests", "scripts"]


def run(*command, **options):
    """Run a command of .venv in the repository; a failure ends everything."""
    name, *rest = map(str, command)
    status = subprocess.run([BIN / name, *rest], cwd=ROOT, **options).returncode
    if status:
        sys.exit(status)


def pip(*arguments):
    run("python", "-m", "pip", "--quiet", "--disable-pip-version-check", "install", *arguments)


def install():
    """Everything runs in .venv, with the exact pins of requirements.txt."""
    newest = max((ROOT / name).stat().st_mtime for name in PINNED)
    if READY.exists() and READY.stat().st_mtime >= newest:
        return
    if sys.version_info < (3, 11):  # noqa: UP036, whoever calls this may have an older one
        sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}")
    subprocess.run([sys.executable, "-m", "venv", "--clear", ROOT / ".venv"], check=True)
    pip("-r", "requirements.txt")
    pip("--no-deps", "--no-build-isolation", "-e", ".")
    READY.touch()


def book():
    """Build the site into _build/html."""
    run("jupyter-book", "build", ".", "-W", "-n", "--keep-going", "--quiet")
    index = (ROOT / "_build/html/index.html").as_uri()
    print(f"The book is ready. Open {index}, or run: make serve (python tasks.py serve)")


def serve():
    """Build the site and show it on port 8000."""
    book()
    where = ["--directory", "_build/html", "--bind", "127.0.0.1"]
    run("python", "-m", "http.server", *where, "8000")


def pdf():
    """Print the whole book into _build/book.pdf; needs Chromium or Chrome."""
    book()
    run("python", "scripts/whole_book.py", "pdf")


def single():
    """Write the whole book into one file for offline reading, _build/book.html; the same."""
    book()
    run("python", "scripts/whole_book.py", "single")


def test():
    """Unit tests, every notebook alone and offline under strict nbval, the built site."""
    book()
    run("python", "scripts/chromium.py")
    threads = {"OMP_NUM_THREADS": "1", **os.environ}  # one for each of the processes
    run("python", "-m", "pytest", "-n", "logical", "--dist", "worksteal", env=threads)


def student():
    """Write the exercises without solutions into _build/student."""
    run("python", "scripts/companions.py", "student")


def instructor():
    """Write the exercises with points and misconceptions into _build/instructor."""
    run("python", "scripts/companions.py", "instructor")


def colab():
    """Run every notebook alone with Colab's versions, in _build/colab; many GB at first."""
    run("python", "scripts/colab.py")


def notebooks():
    """Run every notebook from top to bottom in a clean kernel and store what it prints."""
    options = ["--to", "notebook", "--execute", "--inplace"]
    options += ["--ExecutePreprocessor.record_timing=False"]
    run("jupyter", "nbconvert", *options, *sorted(ROOT.glob("notebooks/**/*.ipynb")))
    run("ruff", "format", "--quiet", "notebooks")


def times():
    """Measure how long each chapter runs. On a machine that does nothing else."""
    run("python", "scripts/times.py")


def flake():
    """Strict nbval, three times each with one and with two threads: is an output unstable?"""
    for threads in "12":
        for _ in range(3):
            environment = {**os.environ, "OMP_NUM_THREADS": threads}
            run("python", "-m", "pytest", "--nbval", "notebooks", env=environment)


def lint():
    """Check style and spelling."""
    run("ruff", "check", ".")
    run("ruff", "format", "--check", ".")
    pages = [*ROOT.glob("book/*.md"), *ROOT.glob("notebooks/*.ipynb")]
    run("codespell", *PROSE, *pages)


def mutants():
    """Plant faults: do the tests find them? It takes long; MUTANTS holds options."""
    run("python", "scripts/mutants.py", *os.environ.get("MUTANTS", "").split())


def report():
    """Draw the report of the recorded CIFAR-10 run on the site; needs CIFAR-10."""
    out = ["--no-pictures", "--out", "book/_static/report-cifar10-cpu.html"]
    run("python", "-m", "vitbook", "report", "cifar10-cpu/seed0", "--weights", "cifar10", *out)


def stamp():
    """Write the repository's address and line numbers where pages show them."""
    run("python", "scripts/stamp.py")


TASKS = (
    book,
    test,
    serve,
    pdf,
    single,
    student,
    instructor,
    colab,
    notebooks,
    times,
    report,
    lint,
    mutants,
    flake,
    stamp,
)


def main():
    known = {task.__name__: task for task in TASKS}
    names = sys.argv[1:] or ["book"]
    if unknown := set(names) - set(known):
        lines = (f"  {name:10} {task.__doc__}" for name, task in known.items())
        sys.exit("\n".join([f"no task is called {', '.join(unknown)}; known:", *lines]))
    install()
    for name in names:
        known[name]()


if __name__ == "__main__":
    main()
