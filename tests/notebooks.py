"""Reading the chapters, for the tests."""

import ast
import re
from pathlib import Path

import nbformat
from IPython.core.inputtransformer2 import TransformerManager

ROOT = Path(__file__).resolve().parent.parent
PATHS = sorted(ROOT.glob("notebooks/*.ipynb"))


def cells(path, kind):
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == kind]


def tags(cell):
    return cell.metadata.get("tags", [])


def prose(path):
    return "\n\n".join(cell.source for cell in cells(path, "markdown"))


def words(path):
    """Words of prose: formulas, tables, code and addresses left out."""
    text = re.sub(
        r"\$\$.*?\$\$|\$[^$]*\$|`[^`]*`|\]\([^)]*\)|^\|[^\n]*$",
        " ",
        prose(path),
        flags=re.S | re.M,
    )
    return len(re.findall(r"[^\W\d_][\w'’-]*", text))


def tree(cell):
    return ast.parse(TransformerManager().transform_cell(cell.source))


def definitions(path):
    """Top-level functions and classes of a chapter, by name; the last one counts."""
    found = {}
    for cell in cells(path, "code"):
        for node in tree(cell).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found[node.name] = node
    return found


def bare(node):
    """A definition as text without its docstrings, and without what formatting decides."""
    for part in ast.walk(node):
        body = getattr(part, "body", None)
        if not isinstance(part, ast.FunctionDef | ast.ClassDef) or not body:
            continue
        first = body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            part.body = body[1:]
    return ast.unparse(node)
