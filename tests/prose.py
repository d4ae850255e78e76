"""Every number that the prose of a page states, and what there is to hold it in place.

Prose is what a reader reads: paragraphs, headings, tables and formulas of a notebook's
Markdown cells or of a page, and the alt texts of figures. Read as numbers are digits, with
their sign and unit; words from *ten* upward; *two* to *nine* before something that is counted;
and parts, as in *two thirds of*. *One*, *half*, *twice* and *double* are not.

Not read, since they measure nothing: names that hold a digit (CIFAR-10), places in a row of
things (chapter 3, layer 2, seed 0), ordinals, the years of citations, powers and indices, and in
formulas and code with letters whatever does not follow an equals sign. `EXEMPT` is the list.

A number is held by one of these, if it is rounded correctly to the digits that it shows:

- an output of the same notebook, or its code (a text typed into the code computes nothing and
  holds nothing, nor does what only styles a figure);
- a recorded file under vitbook/runs/ that the paragraph names, or else its section;
- a sum in the prose that is right, such as 3 · 4 · 4 = 48;
- in pages, a table that a script draws from the records, in the same section;
- an entry of book/sources.yaml.

One or two digits are found somewhere by accident. So such a number must be held in its own
section or in the code cells beside it, and by a line with which its sentence shares a word, if
that line has words that its neighbours have not.
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
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

from notebooks import ROOT, tree

RUNS, SOURCES = ROOT / "vitbook/runs", ROOT / "book/sources.yaml"
MARKDOWN = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin)

# Words and units ------------------------------------------------------------------------------

FEW = dict(zip("two three four five six seven eight nine".split(), range(2, 10), strict=True))
MANY = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
MANY = dict(zip(MANY, range(10, 20), strict=True)) | {"dozen": 12}
for i, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2):
    MANY |= {word: 10 * i} | {f"{word}-{w}": 10 * i + n for w, n in [*FEW.items(), ("one", 1)]}
POWERS = dict(hundred=1e2, thousand=1e3, million=1e6, billion=1e9, trillion=1e12)
PARTS = dict(third=3, quarter=4, fifth=5, sixth=6, seventh=7, eighth=8, ninth=9)
PARTS |= dict(tenth=10, twelfth=12, twentieth=20, fiftieth=50, hundredth=100, thousandth=1000)
COUNTED = "percent|points?|times|seconds|minutes|hours|epochs|steps|seeds|draws|runs|pixels|"
COUNTED += "patches|tokens|layers|blocks|heads|classes|canvases|pictures|digits"
PERCENT = {"%", "percent", "point", "points"}
# The factors by which a holder's number can be larger than the page's.
UNITS = dict.fromkeys(PERCENT, (1, 0.01)) | {"trillion": (1e12,), "hundred": (1e2,)}
UNITS |= dict.fromkeys(["k", "K", "thousand", "kB"], (1e3,))
UNITS |= dict.fromkeys(["M", "million", "MFLOPs", "MB"], (1e6,))
UNITS |= dict.fromkeys(["B", "billion", "GFLOPs", "GB"], (1e9,))
UNITS |= dict.fromkeys(["minute", "minutes"], (1, 60)) | {"ms": (1, 1e-3)}
UNITS |= dict.fromkeys(["hour", "hours"], (1, 3600))


def any_of(words):
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d*\.\d+|\d+)(?:e[-+]?\d+)?"
UNIT = rf"(?:[ -]?(?P<unit>{any_of(UNITS)})(?!\w))"
NUMBER = re.compile(
    rf"(?<![\w.])(?P<sign>(?<![\w)%.])[-−])?(?P<digits>(?>{DIGITS})){UNIT}?(?![^\W\d_²³])"
)
CARRIED = re.compile(rf"(?:(?: to | and | or |, |–|…|/|-){DIGITS})+{UNIT}")  # 98 to 99%
ABOUT = re.compile(
    r"(?:about|roughly|nearly|almost|around|some|≈|\\approx|~)\s*(?:an? )?$", re.I
)
IN_WORDS = re.compile(
    rf"\b(?P<of>an?|one|{any_of(FEW)})[ -](?P<part>{any_of(PARTS)})s?\b"
    rf"(?= (?:of|to|as|the|less|more)\b|[.,;:)?]|$)"
    rf"|\b(?P<few>{any_of(FEW)})\b(?= (?:\w+ )?(?:{COUNTED})\b)|\b(?P<many>{any_of(MANY)})\b"
    rf"(?: (?P<power>{any_of(POWERS)})\b)?"
    rf"|(?<![\d.] )\b(?P<lead>an?|one|{any_of(FEW)}) (?P<alone>{any_of(POWERS)})\b",
    re.I,
)
# What states no quantity. Each has its example in test_numbers.py.
PLACES = "chapter|exercise|solution|section|figure|table|equation|line|version|python|part|step"
PLACES += "|stage|layer|block|head|token|patch|row|column|seed|class|key|query|input|place"
ONE = r"\d+(?:\.\d+)*"
EXEMPT = {
    "a name that holds a digit": r"(?<!\w)[^\W\d_]\w*(?:[-/_.:]\w+)*|\b0\d-\d{3}\b",
    "an ordinal or a dimension": r"\b\d+-?(?:st|nd|rd|th|D)\b",
    "the year of a citation": r"(?:al\.|[A-Z][\w’']+),? \(?(?:19|20)\d\d\b",
    "a place in a row of things": rf"(?i:\b(?:eq\.|epoch|appendix|(?:{PLACES})s?)) {ONE}"
    rf"(?:(?:, | to | and | or |–|-){ONE})*(?![\d%]|,\d|\.\d| (?:{COUNTED}))",
    "a power or an index": r"[\^_](?:\{[^}]*\}|\S)|(?<=[^\W\d_])[²³]|\d+[⁻⁰⁴-⁹]+",
}


@dataclass
class Number:
    text: str
    start: int
    values: list  # (value, half a unit of its last digit), one for each reading of the unit
    weak: bool = True  # one or two significant digits
    percent: bool = False
    whole: bool = False  # a count: nothing is rounded to it
    decimals: bool = False

    @property
    def end(self):
        return self.start + len(self.text)


def digits_of(text):
    """How many significant digits are shown, and how many decimals."""
    mantissa, _, power = text.replace(",", "").partition("e")
    whole, _, decimals = mantissa.partition(".")
    shown = (whole + decimals).lstrip("0")
    return len(shown if decimals else shown.rstrip("0")), len(decimals) - int(power or 0)


def masked(text):
    """The text with what states no quantity blotted out."""
    letters = list(text)
    for pattern in EXEMPT.values():
        for match in re.finditer(pattern, text):
            if re.search(r"[\d²³]", match[0]):
                letters[slice(*match.span())] = "\0" * len(match[0])
    for match in re.finditer(r"\$[^$]*\$|`[^`]*`", text):
        if re.search(r"[^\W\d_]", re.sub(r"\\[a-z]+", "", match[0])):  # with letters
            for number in re.finditer(DIGITS, match[0]):
                if not re.search(r"(?:[=≈<>]|\\approx) *[-−]?$", match[0][: number.start()]):
                    at = match.start() + number.start()
                    letters[at : at + len(number[0])] = "\0" * len(number[0])
    return "".join(letters)


def numbers(text):
    """Every number that a piece of prose states."""
    hidden, found = masked(text), []
    for match in NUMBER.finditer(hidden):
        rest, before = hidden[match.end() :], hidden[: match.start()]
        unit = match["unit"] or ((m := CARRIED.match(rest)) and m["unit"])
        significant, decimals = digits_of(match["digits"])
        value, half = float(match["digits"].replace(",", "")), 0.5 * 10.0**-decimals
        about = bool(ABOUT.search(before))
        if about and not decimals and value >= 100:  # two digits are meant
            half = max(half, 0.5 * 10.0 ** (math.floor(math.log10(value)) - 1))
        value, factors = -value if match["sign"] else value, UNITS.get(unit, (1,))
        number = Number(match[0], match.start(), [(value * f, half * f) for f in factors])
        number.weak, number.percent = significant <= 2, unit in PERCENT
        number.whole = not decimals and not about and factors == (1,)
        number.decimals = decimals > 0 and factors == (1,)
        found.append(number)
    for match in IN_WORDS.finditer(hidden):
        low = {name: (word or "").lower() for name, word in match.groupdict().items()}
        if part := low["part"]:
            value, half = FEW.get(low["of"], 1) / PARTS[part], 0.05
        elif low["alone"]:
            value, half = FEW.get(low["lead"], 1) * POWERS[low["alone"]], 0.05
        else:
            value, half = (
                (FEW | MANY)[low["few"] or low["many"]] * POWERS.get(low["power"], 1),
                0,
            )
        about = 0.05 if ABOUT.search(hidden[: match.start()]) else 0
        found.append(Number(match[0], match.start(), [(value, value * max(half, about))]))
    return sorted(found, key=lambda number: number.start)


# Sums in the prose ----------------------------------------------------------------------------

TERM = rf"(?:√|ln *|e\^)?{DIGITS}(?: *ln *{DIGITS})?[²³]?%?(?: (?:{any_of(POWERS)})\b)?"
SIDE = rf"[-−]?{TERM}(?: *[-−+·×*/] *{TERM})*"
CHAIN = re.compile(
    rf"(?<![\w.)}}^])(?<![·×*/+√=≈] )(?<![·×*/+√=≈]){SIDE}(?: *[=≈] *{SIDE})+"
    r"(?! *[·×*/+^(√]|[\w²³])"
)
SIGNS = {"·": "*", "×": "*", "−": "-", "²": "**2", "³": "**3", "%": ""}


def sums(text):
    """Chains such as "3 · 4 · 4 = 48": (start, end, whether it is right)."""
    for name, sign in {"cdot": "·", "times": "×", "approx": "≈", "ln": "ln"}.items():
        text = text.replace(f"\\{name}", sign.rjust(len(name) + 1))
    found = []
    for match in CHAIN.finditer(text):
        sides = [side.strip() for side in re.split("[=≈]", match[0])]
        lone = [re.fullmatch(rf"({DIGITS})%?(?: (\w+))?", side) for side in sides]
        steps = [POWERS.get(m[2], 1) * 10.0 ** -digits_of(m[1])[1] for m in lone if m]
        near = min(steps, default=1) / 2
        near = near if "≈" in match[0] or near < 0.5 else 0
        values = [evaluate(side) for side in sides]
        right = max(values) - min(values) <= near + 1e-9 * abs(values[0])
        found.append((*match.span(), right))
    return found


def evaluate(side):
    side = re.sub(r"(?<=\d),(?=\d{3})", "", side)
    for pattern, new in [
        (rf"({DIGITS})( *)ln", r"\1*ln"),
        (rf"√({DIGITS})", r"(\1)**.5"),
        (rf"ln *({DIGITS})", r"log(\1)"),
        (rf"e\^({DIGITS})", r"exp(\1)"),
    ]:
        side = re.sub(pattern, new, side)
    side = re.sub(rf" ({any_of(POWERS)})", lambda m: f"*{POWERS[m[1]]}", side)
    side = "".join(SIGNS.get(letter, letter) for letter in side)
    try:  # nothing but digits, signs and these two functions can stand here
        return float(eval(side, {"__builtins__": {}, "log": math.log, "exp": math.exp}))
    except (ArithmeticError, ValueError):
        return math.inf


# Pages ----------------------------------------------------------------------------------------


@dataclass
class Block:
    """A paragraph, heading, table row or alt text."""

    text: str
    where: str
    section: int
    cell: int = 0

    def sentences(self, start):
        """The sentence at this place, and the same with the sentence before it."""
        ends = [m.end() for m in re.finditer(r"[.:;?!][)*”\"]* +(?=[A-Z(*“])", self.text)]
        ends = [0, *ends, len(self.text) + 1]
        i = max(i for i, end in enumerate(ends) if end <= start)
        return self.text[ends[i] : ends[i + 1]], self.text[ends[max(0, i - 1)] : ends[i + 1]]


def flat(tokens):
    """Inline Markdown as text: link targets are gone, code and formulas stay marked."""
    marks = {"code_inline": "`", "math_inline": "$"}
    text = ""
    for token in tokens:
        if token.type == "image":
            text += flat(token.children)
        elif token.type in ("softbreak", "hardbreak"):
            text += " "
        elif token.type != "html_inline":
            text += marks.get(token.type, "") + token.content + marks.get(token.type, "")
    return text


def plain(piece):
    """A verbatim piece of a page as its block has it."""
    return " ".join(flat(MARKDOWN.parseInline(piece)[0].children).split())


def is_place(head, cell):
    """A table's cell that numbers its row, or names a chapter."""
    return head in ("", "chapter") and re.fullmatch(r"\d+(?:, \d+)*", cell)


def blocks(text, where="line {}", section=0, cell=0, first=1):
    """The prose in a Markdown text: (block, the name of the generated part it lies in)."""
    found, generated, row, heads, place = [], None, None, None, ""
    for token in MARKDOWN.parse(text):
        place = where.format(first + token.map[0]) if token.map else place
        if token.type == "heading_open":
            section += 1
        elif token.type == "html_block":
            for mark in re.findall(r"<!-- (.+?) -->", token.content):
                generated = None if mark.startswith("end of ") else mark
        elif token.type == "fence" and token.info.startswith("{"):  # a directive of MyST
            alt = re.search(r"^:alt: (.*)$", token.content, flags=re.M)
            inner = alt[1] if alt else token.content
            found += blocks(inner, where, section, cell, first + token.map[0] + 1)
        elif token.type == "tr_open":
            row = []
        elif token.type == "tr_close":
            heads = heads or row
            rows = [c for h, c in zip(heads, row, strict=True) if not is_place(h, c)]
            found.append((Block(" | ".join(rows), place, section, cell), generated))
            row = None
        elif token.type == "table_close":
            heads = None
        elif token.type in ("inline", "math_block"):
            formula = token.type == "math_block"
            said = f"${token.content}$" if formula else flat(token.children)
            if row is not None:
                row.append(" ".join(said.split()))
            else:
                found.append((Block(" ".join(said.split()), place, section, cell), generated))
    return found


# Holders --------------------------------------------------------------------------------------


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


STYLE = (
    "figsize fontsize lw linewidth alpha pad markersize rotation xlim ylim dpi bbox_to_anchor"
)
STOP = set("the and for with that this are was from into its not has have but all".split())


def stems(text):
    """Words by their first letters; a word before a number also with it: "layer 3"."""
    text = text.lower().replace("_", " ")
    pairs = re.findall(r"\b([^\W\d_]{3,}?)s? (\d+)\b", text)
    words = (word[:5] for word in re.findall(r"[^\W\d_]{3,}", text) if word not in STOP)
    return frozenset(words) | {" ".join(pair) for pair in pairs}


def in_text(text, **place):
    """The numbers of an output, line by line."""
    lines = [line for line in text.splitlines() if re.search(r"\d", line)]
    counts, found = Counter(word for line in lines for word in stems(line)), []
    common = {word for word, count in counts.items() if count > max(1, len(lines) / 2)}
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
            found.append(
                Holder(value, exact=exact, words=frozenset() if exact else words, **place)
            )
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
        "range"
    ):  # from 0 to n - 1
        found += [
            Holder(v, exact=True, **place)
            for h in in_code(node.args[0])
            for v in (0, h.value - 1)
        ]
    for child in ast.iter_child_nodes(node):
        found += in_code(child, words, **place)
    return found


def typed(code):
    """Texts in the code that hold a digit: what they say was typed, not computed."""
    texts = [n.value for n in ast.walk(code) if isinstance(n, ast.Constant)]
    return [t.strip() for t in texts if isinstance(t, str) and re.search(r"\d", t)]


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
    """Numbers in a record; those that lie deeper than the first floor with their key's words."""
    if isinstance(value, dict):
        pairs = [(f"{key} {k}", v) for k, v in value.items()]
    elif isinstance(value, list):
        pairs = [(key, v) for v in value]
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
    """A recorded run, all its seeds and their mean; or a file of results, row by row."""
    found, base = [], {}
    if (RUNS / name).is_dir():
        seeds = sorted((RUNS / name).glob("seed*"))
        groups = {"": [json.loads((seed / "summary.json").read_text()) for seed in seeds]}
        for seed in seeds:
            config = leaves(yaml.safe_load((seed / "config.yaml").read_text()))
            found += [Holder(v, exact=isinstance(v, int)) for vs in config.values() for v in vs]
            rows = csv.DictReader((seed / "history.csv").read_text().splitlines())
            values = [float(v) for row in rows for v in row.values() if v and "." in v]
            found += [Holder(v, history=True) for v in values]
        found.append(Holder(len(seeds), exact=True))
    else:
        (path,) = RUNS.glob(f"{name}.json*")
        lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        groups = {}
        for record in map(json.loads, lines):
            groups.setdefault(record.get("row", ""), []).append(record)
    for row, records in groups.items():
        for key, values in leaves(records).items():
            deep = key.split()[-1] if len(key.split()) > 1 else ""
            words = stems(row) | stems(deep)
            found += [Holder(v, exact=isinstance(v, int), words=words) for v in values]
            mean = sum(values) / len(values)
            base.setdefault(key, mean)  # the first row: what the others are compared with
            found += [Holder(mean, words=words), Holder(mean - base[key], words=words)]
    return found


def named_records(text):
    names = [path.stem if path.is_file() else path.name for path in RUNS.iterdir()]
    return {
        n for n in names if re.search(rf"(?:runs/|[`\"']){re.escape(n)}(?:[`\"'/.]|$)", text)
    }


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
        for block, generated in blocks(self.raw[0]):
            if generated:
                self.holders += in_text(block.text, section=block.section)
            else:
                self.blocks.append(block)

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
                self.blocks += [
                    b for b, _ in blocks(cell.source, f"cell {cell.id}", section, i)
                ]
                section = max([section, *(b.section for b in self.blocks)])
                continue
            if alt := cell.metadata.get("mystnb", {}).get("image", {}).get("alt"):
                self.raw.append(alt)
                self.blocks.append(Block(alt, f"cell {cell.id}, alt text", section, i))
            self.codes[i] = section, cell.source
            self.holders += in_code(tree(cell), section=section, cell=i)
            for output in cell.outputs:
                text, alts = shown(output)
                where = f"cell {cell.id}, alt text"
                self.blocks += [Block(alt, where, section, i) for alt in alts]
                self.raw += alts
                for literal in literals:
                    text = text.replace(literal, " ")
                self.holders += in_text(text, section=section, cell=i)

    def records(self, block):
        names = named_records(block.text)
        if not names:  # its section, the code too
            texts = [b.text for b in self.blocks if b.section == block.section]
            texts += [code for section, code in self.codes.values() if section == block.section]
            names = named_records("\n".join(texts))
        return [holder for name in sorted(names) for holder in in_record(name)]

    def holds_by_entry(self, entry, block):
        """Where in a block the numbers stand that an entry of the sources holds."""
        spans = [m.span() for m in re.finditer(re.escape(plain(entry["sentence"])), block.text)]
        return {
            number.start
            for number in numbers(block.text)
            if any(a <= number.start and number.end <= b for a, b in spans)
            and str(entry["number"]) in (number.text, re.sub(rf"{UNIT}$", "", number.text))
        }

    def loose(self, block):
        """The numbers of a block that nothing holds."""
        return [n for n in numbers(block.text) if not self.held(n, block)]

    def held(self, number, block):
        def within(start, end):
            return start <= number.start and number.end <= end

        text = block.text
        if any(number.start in self.holds_by_entry(entry, block) for entry in self.entries):
            return True
        result = re.search(r"(?:[=≈]|\\approx) *$", text[: number.start])
        for start, end, right in sums(text):  # rounded terms need a holder of their own
            exact = "." not in number.text and not re.search(r"≈|\\approx", text[start:end])
            if right and within(start, end) and (result or exact):
                return True
        for match in re.finditer(r"`([^`]*)`", text):  # code that stands in a cell as well
            if within(*match.span()) and any(
                match[1] in code for _, code in self.codes.values()
            ):
                return True
        pool = self.holders + self.records(block)
        if number.weak:
            words = stems(block.sentences(number.start)[1])
            a_range = r"(?: to |–|\[|, |between |±) ?$", r" to |–|, | and "
            an_end = re.search(a_range[0], text[: number.start]) or re.match(
                a_range[1], text[number.end :]
            )
            pool = [
                h for h in pool
                if (h.section in (None, block.section) or h.cell in self.beside.get(block.cell, ()))
                and not h.history and (an_end or not h.end) and (not h.words or words & h.words)
            ]  # fmt: skip
        return any(holds(holder, number) for holder in pool)
