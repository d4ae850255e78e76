"""What holds the numbers in the prose of a page.

A number is held by one of these, if it is rounded correctly to the digits that it shows:

- an output of the same notebook, or its code (a text typed into the code computes nothing and
  holds nothing, nor does what only styles a figure);
- a recipe, or a recorded file under vitbook/runs/: one that the paragraph or its section names;
- a sum in the prose that is right, such as 3 · 4 · 4 = 48;
- in pages, what a script draws from the records, in the same section;
- an entry of book/sources.yaml.

One or two digits are found somewhere by accident. So such a number must be held in its own
section or in the code cells beside it, and by a line with which its sentence, or the one
before, shares a word, if that line has words that its neighbours have not.
"""

import ast
import csv
import json
import math
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nbformat
import yaml
from bs4 import BeautifulSoup
from prose import NUMBER, PERCENT, UNIT, UNITS, Block, blocks, digits_of, numbers, plain, sums

from notebooks import ROOT, tree

RUNS, SOURCES = ROOT / "vitbook/runs", ROOT / "book/sources.yaml"


@dataclass
class Holder:
    value: float
    percent: bool = False
    exact: bool = False  # a whole number
    words: frozenset = frozenset()  # of its line
    end: bool = False  # of an interval
    history: bool = False  # one of very many
    section: int | None = None
    cell: int | None = None


STYLE = "figsize fontsize lw linewidth alpha pad markersize rotation xlim ylim bbox_to_anchor"
STOP = "the and for with that this are was from into its not has have but all"


def stems(text):
    """Words by their first letters; a word before a number also with it: "layer 3"."""
    text = text.lower().replace("_", " ")
    pairs = re.findall(r"\b([^\W\d_]{3,}?)s? (\d+)\b", text)
    words = (word[:5] for word in re.findall(r"[^\W\d_]{3,}", text) if word not in STOP.split())
    return frozenset(words) | {" ".join(pair) for pair in pairs}


def in_text(text, **place):
    """The numbers of an output, line by line."""
    lines = [line for line in text.splitlines() if re.search(r"\d", line)]
    counts, found = Counter(word for line in lines for word in stems(line)), []
    common = {w for w, count in counts.items() if count > len(lines) / 2 or len(lines) == 1}
    for line in lines:
        spans = [m.span() for m in re.finditer(r"(?<=[\d%] )\[[^\[\]]*,[^\[\]]*\]|± \S+", line)]
        for match in NUMBER.finditer(line):
            factor = UNITS.get(match["unit"], (1,))[0]
            value = float(match["digits"].replace(",", "")) * factor
            holder = Holder(
                -value if match["sign"] else value, match["unit"] in PERCENT, **place
            )
            holder.exact = factor == 1 and digits_of(match["digits"])[1] == 0
            holder.end = any(a < match.start() < b for a, b in spans)
            holder.words = stems(line) - common
            found.append(holder)
    return found


def in_code(node, words=frozenset(), **place):
    """The numbers of code; a fraction has the words of its statement."""
    if isinstance(node, ast.keyword) and node.arg in STYLE.split():
        return []
    if isinstance(node, ast.stmt) and not hasattr(node, "body"):
        words = stems(ast.unparse(node))
    found = []
    if isinstance(node, ast.BinOp | ast.UnaryOp | ast.Constant):
        try:  # arithmetic of constants
            value = eval(ast.unparse(node), {"__builtins__": {}})
        except Exception:
            value = None
        if isinstance(value, int | float) and not isinstance(value, bool):
            exact = isinstance(value, int)
            own = frozenset() if exact else words
            found.append(Holder(value, exact=exact, words=own, **place))
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("range"):
        for stop in in_code(node.args[0]):  # from 0 to n - 1
            found += [Holder(v, exact=True, **place) for v in (0, stop.value - 1)]
    for child in ast.iter_child_nodes(node):
        found += in_code(child, words, **place)
    return found


def typed(code):
    """Texts in the code that hold a digit: what they say was typed, not computed."""
    texts = [n.value for n in ast.walk(code) if isinstance(n, ast.Constant)]
    texts = [text.strip() for text in texts if isinstance(text, str)]
    return [t for t in texts if re.search(r"\d", t) and re.search(r"[^\W\d_]{2}", t)]


def shown(output):
    """What an output shows as text, bars of progress aside, and the alt texts of diagrams."""
    if output.output_type == "stream":
        return "" if output.name == "stderr" or "% |" in output.text else output.text, []
    data, alts = output.get("data", {}), []
    if "text/html" not in data:
        return "" if "image/png" in data else "".join(data.get("text/plain", "")), []
    soup = BeautifulSoup("".join(data["text/html"]), "html.parser")
    for part in soup(["script", "style"]) + soup.select(".vitbook-diagram"):
        alts += [drawn["aria-label"] for drawn in part.select("[aria-label]")]
        part.decompose()
    return soup.get_text("\n"), alts


def leaves(value, key=""):
    """Numbers in a record; those of lower floors under their key's words."""
    if isinstance(value, dict):
        pairs = [(f"{key} {k}", v) for k, v in value.items()]
    elif isinstance(value, list):
        pairs = [(f"{key} history" if len(value) > 3 else key, v) for v in value]
    else:
        good = isinstance(value, int | float) and not isinstance(value, bool)
        return {key: [value]} if good and math.isfinite(value) else {}
    found = {}
    for k, v in pairs:
        for name, values in leaves(v, k).items():
            found.setdefault(name, []).extend(values)
    return found


@cache
def in_record(name):
    """A recipe, and its recorded runs with their mean; or a file of results, row by row."""
    found, base, groups = [], {}, {}
    if (recipe := RUNS.parent / f"recipes/{name}.yaml").exists():
        asked = leaves(yaml.safe_load(recipe.read_text()))
        found += [Holder(v, exact=isinstance(v, int)) for vs in asked.values() for v in vs]
    if (RUNS / name).is_dir():
        seeds = sorted((RUNS / name).glob("seed*"))
        groups = {"": [json.loads((seed / "summary.json").read_text()) for seed in seeds]}
        for config in sorted((RUNS / name).glob("*/config.yaml")):  # shorter runs as well
            asked = leaves(yaml.safe_load(config.read_text()))
            found += [Holder(v, exact=isinstance(v, int)) for vs in asked.values() for v in vs]
            history = config.with_name("history.csv").read_text()
            rows = [*csv.DictReader(history.splitlines())]
            found.append(Holder(len(rows), exact=True))
            values = [float(v) for row in rows for v in row.values() if v and "." in v]
            found += [Holder(v, history=True) for v in values]
        found.append(Holder(len(seeds), exact=True))
    for path in RUNS.glob(f"{name}.json*"):
        lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        for record in map(json.loads, lines):
            groups.setdefault(record.get("row", ""), []).append(record)
    for row, records in groups.items():
        for key, values in leaves(records).items():
            deep = key.split()[-1] if len(key.split()) > 1 else ""
            if deep == "history":
                found += [Holder(v, history=True) for v in values]
                continue
            words = stems(row) | stems(deep)
            found += [Holder(v, exact=isinstance(v, int), words=words) for v in values]
            mean = sum(values) / len(values)
            base.setdefault(key, mean)  # the first row: what the others are compared with
            found += [Holder(mean, words=words), Holder(mean - base[key], words=words)]
    return found


def named_records(text):
    paths = [*RUNS.iterdir(), *RUNS.parent.glob("recipes/*.yaml")]
    names = {path.name.split(".json")[0].removesuffix(".yaml") for path in paths}
    told = r"(?:runs/|recorded_|[`\"']){}(?:[`\"'/.(]|$)"
    return {n for n in names if re.search(told.format(re.escape(n)), text)}


def holds(holder, number):
    for i, (value, half) in enumerate(number.values):
        said = holder.value if value < 0 else abs(holder.value)
        if number.percent and i == 0 and holder.exact and not holder.percent:
            continue  # 81% is not held by some 81
        if number.percent and i == 1 and (holder.percent or (holder.exact and said > 1)):
            continue
        if number.decimals and holder.exact:
            continue
        said *= 0.01 if holder.percent and not number.percent else 1
        if abs(said - value) <= (0 if number.whole else half) + 1e-9 * max(1, abs(value)):
            return True
    return False


def sources():
    return yaml.safe_load(SOURCES.read_text("utf-8"))


class Page:
    """A page: its prose in blocks, and its holders."""

    def __init__(self, path, entries=None):
        self.path = Path(path)
        inside = self.path.is_relative_to(ROOT)
        self.name = str(self.path.relative_to(ROOT)) if inside else self.path.name
        known = sources() if entries is None else entries
        self.entries = known.get(self.name) or []
        self.blocks, self.holders, self.raw, self.codes, self.beside = [], [], [], {}, {}
        {".ipynb": self.notebook, ".md": self.markdown, ".py": self.script}[self.path.suffix]()
        self.wrong = []
        for block in self.blocks:
            for start, end, right in sums(block.text):
                if not right:
                    self.wrong.append((block, block.text[start:end]))
                place = dict(section=block.section, cell=block.cell)
                self.holders += in_text(block.text[start:end] if right else "", **place)

    def markdown(self):
        self.raw.append(self.path.read_text("utf-8"))
        drawn = {}
        for block, generated in blocks(self.raw[0]):
            if generated:
                drawn.setdefault(block.section, []).append(block.text)
            else:
                self.blocks.append(block)
        for section, texts in drawn.items():
            self.codes[section] = section, "\n".join(texts)  # it can name records, too
            self.holders += in_text(self.codes[section][1], section=section)

    def script(self):
        """What a script writes into a page: its texts, but for what it fills in."""
        for node in ast.walk(ast.parse(self.path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and re.search(r"(?:[a-z]+ ){3}", str(node.value)):
                self.raw.append(node.value)
                self.blocks += [b for b, _ in blocks(node.value, "line {}", first=node.lineno)]

    def notebook(self):
        cells, section = nbformat.read(self.path, 4).cells, 0
        kinds = "".join("c" if cell.cell_type == "code" else "." for cell in cells)
        literals = [t for cell in cells if cell.cell_type == "code" for t in typed(tree(cell))]
        for i, cell in enumerate(cells):
            before = len(kinds[:i]) - len(kinds[:i].rstrip("c"))
            after = len(kinds[i + 1 :]) - len(kinds[i + 1 :].lstrip("c"))
            self.beside[i] = range(i - before, i + after + 1)
            if kinds[i] == ".":
                self.raw.append(cell.source)
                found = blocks(cell.source, f"cell {cell.id}", section, i)
                self.blocks += [block for block, _ in found]
                section = max([section, *(b.section for b in self.blocks)])
                continue
            if alt := cell.metadata.get("mystnb", {}).get("image", {}).get("alt"):
                self.raw.append(alt)
                self.blocks.append(Block(alt, f"cell {cell.id}, alt text", section, i))
            self.codes[i] = section, cell.source
            self.holders += in_code(tree(cell), section=section, cell=i)
            printed = ""  # together: what one cell prints is stored in one piece or in many
            for output in cell.outputs:
                text, alts = shown(output)
                where = f"cell {cell.id}, alt text"
                self.blocks += [Block(alt, where, section, i) for alt in alts]
                self.raw += alts
                printed += text if text.endswith("\n") else f"{text}\n"
            for literal in literals:  # its words still tell what the line is about
                printed = printed.replace(literal, re.sub(r"[\d.,%]+", " ", literal))
            self.holders += in_text(printed, section=section, cell=i)

    def records(self, block):
        names = named_records(block.text)
        if not names:  # its section, the code too
            texts = [b.text for b in self.blocks if b.section == block.section]
            texts += [code for section, code in self.codes.values() if section == block.section]
            names = named_records("\n".join(texts))
        return [holder for name in sorted(names) for holder in in_record(name)]

    def held_by_entry(self, entry, block):
        """Where in a block the numbers stand that an entry of the sources holds."""
        spans = [
            m.span()
            for m in re.finditer(re.escape(plain(str(entry.get("sentence")))), block.text)
        ]
        found = numbers(block.text) if spans else []
        return {
            number.start
            for number in found
            if any(a <= number.start and number.end <= b for a, b in spans)
            and str(entry.get("number")) in (number.text, re.sub(rf"{UNIT}$", "", number.text))
        }

    def loose(self, block):
        """The numbers of a block that nothing holds."""
        text, codes = block.text, "\0".join(code for _, code in self.codes.values())
        ticks = [m for m in re.finditer(r"`([^`]*)`", text) if m[1] in codes]
        right = [(a, b, re.search(r"≈|\\approx", text[a:b])) for a, b, ok in sums(text) if ok]
        sourced = set().union(*(self.held_by_entry(entry, block) for entry in self.entries))
        records, beside = self.records(block), self.beside.get(block.cell, ())
        near = [h for h in self.holders if h.section == block.section or h.cell in beside]
        near += [h for h in records if not h.history]
        found = []
        for number in numbers(text):
            result = re.search(r"(?:[=≈]|\\approx) *$", text[: number.start])
            if number.start in sourced or any(
                m.start() < number.start < m.end() for m in ticks
            ):
                continue
            if any(
                a <= number.start < b and (result or not (rounded or "." in number.text))
                for a, b, rounded in right
            ):
                continue
            pool = self.holders + records
            if number.weak:
                words = stems(block.sentences(number.start)[1])
                end = re.search(r"(?: to |–|\[|, |between |±) ?$", text[: number.start])
                end = end or re.match(r" to |–|, | and ", text[number.end :])
                pool = [h for h in near if end or not h.end]
                pool = [h for h in pool if not h.words or words & h.words]
            if not any(holds(holder, number) for holder in pool):
                found.append(number)
        return found
