"""The source of what a reader wrote, in a file or in a notebook's cell."""

import ast
import linecache
import textwrap

# What every companion notebook imports, before the first task.
GIVEN = """import math

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import nn
"""

EMPTY = ("...", "pass", "raise NotImplementedError", "raise NotImplementedError()")


def name_of(answer):
    """The name that a reader gave, or words in its place."""
    return getattr(answer, "__name__", "your function")


def file_of(answer):
    """The file, or the cell, in which a function or a class was written; None if unknown."""
    functions = [answer, *(vars(answer).values() if isinstance(answer, type) else ())]
    codes = [getattr(getattr(f, "__wrapped__", f), "__code__", None) for f in functions]
    return next((code.co_filename for code in codes if code), None)


def tree_of(answer):
    """The syntax tree of a function or a class; None where there is no source to look at."""
    file = file_of(answer)
    text = "".join(linecache.getlines(file)) if file else ""
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except SyntaxError:
        return None
    named = [n for n in nodes if getattr(n, "name", None) == name_of(answer)]
    line = getattr(getattr(answer, "__code__", None), "co_firstlineno", None)
    here = [n for n in named if line in (n.lineno, *(d.lineno for d in n.decorator_list))]
    return (here or named or [None])[-1]


def source_of(answer):
    """The text of a function or a class, decorators included; None where there is none."""
    tree, lines = tree_of(answer), linecache.getlines(file_of(answer) or "")
    if tree is None:
        return None
    first = min([tree.lineno, *(d.lineno for d in tree.decorator_list)])
    return textwrap.dedent("".join(lines[first - 1 : tree.end_lineno]))


def is_stub(answer):
    """Whether a function, or a method of a class, is still empty."""
    tree = tree_of(answer)
    return tree is not None and any(map(is_empty, functions_of(tree)))


def functions_of(tree):
    """A function itself, or the methods of a class."""
    if isinstance(tree, ast.ClassDef):
        return [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [tree]


def is_empty(function):
    """Whether nothing but a docstring and a placeholder stands in it."""
    return all(
        ast.unparse(line) in EMPTY
        or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
        for line in getattr(function, "body", [function])
    )


def stub(source, filled=()):
    """A program without its bodies, but for the methods that are given.

    Docstrings, signatures and decorators stay; ``...`` stands where something is to write.
    """
    tree = ast.parse(source)
    top = tree.body[0]
    lines, cuts = source.splitlines(keepends=True), []
    for function in functions_of(top):
        if function.name in filled:
            continue
        documented = ast.get_docstring(function) is not None
        body = function.body[documented:]
        cuts.append((body[0].lineno - 1, body[-1].end_lineno, body[0].col_offset))
    for first, last, indent in reversed(cuts):
        lines[first:last] = [" " * indent + "...\n"]
    return "".join(lines)


def where(error, answer):
    """The line of the answer in which an error arose."""
    file, frame, line = file_of(answer), error.__traceback__, None
    while frame:
        if frame.tb_frame.f_code.co_filename == file:
            line = linecache.getline(file, frame.tb_lineno).strip()
        frame = frame.tb_next
    return f"`{line}`" if line else "it"
