"""Write the repository's address and the package's line numbers where pages show them.

The address stands once, in ``_config.yml``; notebooks repeat it in the Colab link and
in the set-up cell, book pages in links to lines of code. "make stamp" rewrites those;
``stamp.py --check`` says which file is stale and exits with 1.
"""

import ast
import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    *sorted(ROOT.glob("notebooks/*.ipynb")),
    *sorted(ROOT.glob("book/*.md")),
    ROOT / "README.md",
]


def repository():
    """(address, branch) from _config.yml."""
    section = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["repository"]
    return section["url"].rstrip("/"), section["branch"]


def version():
    return re.search(r'"(.+)"', (ROOT / "vitbook/version.py").read_text("utf-8")).group(1)


def line_of(module, name):
    """The line on which a module defines a function, a class or a method ("Class.method")."""
    body = ast.parse((ROOT / "vitbook" / f"{module}.py").read_text("utf-8")).body
    for part in name.split("."):
        node = next((n for n in body if getattr(n, "name", None) == part), None)
        if node is None:
            raise SystemExit(f"stamp: vitbook/{module}.py defines no {name}")
        body = getattr(node, "body", [])
    return node.lineno


def stamped(path):
    """The text that a page should have."""
    url, branch = repository()
    account = url.removeprefix("https://github.com/")
    text = path.read_text("utf-8")
    colab = f"https://colab.research.google.com/github/{account}/blob/{branch}/notebooks"
    text = re.sub(
        r"https://colab\.research\.google\.com/github/[\w./-]+?/notebooks", colab, text
    )
    text = re.sub(r"git\+https://[\w./-]+@\{", f"git+{url}@{{", text)
    text = re.sub(r'for version in \(\\?"v[\w.]+', rf'for version in (\\"v{version()}', text)
    text = re.sub(r"git clone \S+", f"git clone {url}", text)

    def link(match):
        module, name = match.groups()
        line = line_of(module, name)
        return (
            f"[`{module}.{name}`, line {line}]({url}/blob/{branch}/vitbook/{module}.py#L{line})"
        )

    return re.sub(r"\[`([\w/]+)\.([\w.]+)`, line \d+\]\([^)]*\)", link, text)


def main():
    stale = [path for path in PAGES if path.read_text("utf-8") != stamped(path)]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is stale: run make stamp")
        sys.exit(bool(stale))
    for path in stale:
        path.write_text(stamped(path), "utf-8")
        print(f"stamped {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
