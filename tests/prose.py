"""Reading numbers: where the prose of a page states one, and what there is to hold it."""

import ast
import csv
import io
import json
import math
import re
from dataclasses import dataclass, field
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

# Number words: from ten upward always; two to nine before something that is counted;
# parts ("two thirds"). "One", "twice" and "half" alone are left aside.
SMALL = dict(zip("two three four five six seven eight nine".split(), range(2, 10), strict=True))
TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
WORDS = dict(zip(TEENS.split(), range(10, 20), strict=True)) | {"dozen": 12}
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
for tens, value in zip(TENS.split(), range(20, 100, 10), strict=True):
    WORDS |= {tens: value} | {f"{tens}-{w}": value + n for w, n in [*SMALL.items(), ("one", 1)]}
POWERS = dict(hundred=1e2, thousand=1e3, million=1e6, billion=1e9, trillion=1e12)
PARTS = dict(third=3, quarter=4, fifth=5, sixth=6, seventh=7, eighth=8, ninth=9, tenth=10)
PARTS |= dict(half=2, halve=2, twentieth=20, hundredth=100, thousandth=1000)
COUNTED = (
    r"(?:\w+ )?(?:percent|points?|times|seconds|minutes|hours|epochs|steps|seeds|draws|runs|"
)
COUNTED += (
    r"pixels|patches|tokens|layers|blocks|heads|classes|canvases|pictures|digits|cores)\b"
)

# What a number may be written in: factors by which a holder can differ from the page.
UNITS = {
    **dict.fromkeys(["%", "percent", "point", "points"], (1, 0.01)),
    **dict.fromkeys(["M", "million", "MFLOPs", "MB"], (1e6,)),
    **dict.fromkeys(["k", "K", "thousand", "kB"], (1e3,)),
    **dict.fromkeys(["B", "billion", "GFLOPs", "GB"], (1e9,)),
    "trillion": (1e12,),
    "hundred": (1e2,),
    **dict.fromkeys(["minute", "minutes"], (1, 60)),
    **dict.fromkeys(["hour", "hours"], (1, 60, 3600)),
    **dict.fromkeys(["ms", "milliseconds"], (1, 1e-3)),
}
PERCENT = {"%", "percent", "point", "points"}
UNIT = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d*\.\d+|\d+)(?:e[-+]?\d+)?"
AFTER = r"(?=[\s.,;:)\]|…–—-]|$)"
NUMBER = re.compile(
    rf"(?<![\w.])(?P<sign>(?<![\w)%.])[-−])?(?P<digits>{DIGITS})"
    rf"(?:[ -]?(?P<unit>{UNIT})(?![\w]))?",
)
WORD = re.compile(
    rf"\b(?P<few>{'|'.join(SMALL)})\b(?= {COUNTED})"
    rf"|\b(?:(?:an?|one|two|three|four|five|six|seven|eight|nine) )?"
    rf"(?P<word>{'|'.join(sorted(WORDS, key=len, reverse=True))}|{'|'.join(POWERS)})\b"
    r"(?: (?P<power>hundred|thousand|million|billion|trillion)\b)?",
    re.I,
)
PART = re.compile(
    rf"\b(?P<many>an?|one|{'|'.join(SMALL)})[ -](?P<part>{'|'.join(PARTS)})s?\b"
    r"(?= of| to| as| the| less| more|[.,;:)]|$)|\b(?P<half>half) of\b",
    re.I,
)
ABOUT = re.compile(
    r"(?:about|roughly|nearly|almost|around|some|approximately|≈|~)\s*(?:an? )?$"
)

# What is no statement about a quantity. Each pattern has its example in test_numbers.py.
EXEMPT = {
    "a name that holds a digit": r"(?<!\w)[^\W\d_]\w*(?:[-/_.:]\w+)*",
    "an ordinal or a dimension": r"\b\d+(?:st|nd|rd|th|D|-D)\b",
    "a year": r"(?:al\.|[A-Z][\w’']+),? \(?(?:19|20)\d\d\b",
    "a place in a row of things": (
        r"(?i:\b(?:chapters?|exercises?|solutions?|sections?|figures?|tables?|eqs?\.|equations?"
        r"|appendix|lines?|versions?|python|parts?|steps?|stages?|layers?|blocks?|heads?|tokens?"
        r"|patch|rows?|columns?|seeds?|epoch|classes|class|keys?|quer(?:y|ies)|inputs?|places?)) "
        r"\d+(?:\.\d+)*(?:(?:, | to | and | or |–|-)\d+(?:\.\d+)*)*(?![\d%]|,\d|\.\d)"
    ),
    "a power or an index": r"[\^_](?:\{[^}]*\}|\S)|(?<=[^\W\d_])[²³]",
}


@dataclass
class Number:
    text: str
    start: int
    end: int
    values: list  # (value, half a unit of the last digit), one per reading of its unit
    weak: bool = True  # two significant digits or fewer
    percent: bool = False
    whole: bool = False  # a small whole number: rounding does not make one


@dataclass
class Block:
    """A paragraph, heading, table row or alt text: where it stands and what it says."""

    text: str
    where: str
    section: int = 0
    cell: int = 0
    headers: list = field(default_factory=list)


@dataclass
class Holder:
    value: float
    percent: bool = False
    exact: bool = False  # a whole number
    section: int | None = None
    cell: int | None = None


def digits_of(text):
    """Significant digits, and the number of decimals, as they are shown."""
    mantissa, _, power = text.replace(",", "").partition("e")
    whole, _, decimals = mantissa.partition(".")
    shown = (whole + decimals).lstrip("0")
    return len(shown if decimals else shown.rstrip("0")), len(decimals) - int(power or 0)


def numbers(text, headers=()):
    """Every number that a piece of prose states, the exempted ones left out."""
    masked = list(text)
    for pattern in EXEMPT.values():
        for match in re.finditer(pattern, text):
            if re.search(r"[\d²³]", match[0]):
                masked[match.start() : match.end()] = "\0" * len(match[0])
    hidden, found = "".join(masked), []
    for match in NUMBER.finditer(hidden):
        if re.match(r"[^\W\d_]", hidden[match.end() :]):
            continue  # letters are glued to it: no unit that is known
        unit, significant, decimals = match["unit"], *digits_of(match["digits"])
        if not unit:  # "98 to 99%", and the head of a table's column
            later = rf"(?:(?: to | and | or |, |–|…|/|-){DIGITS} ?)+(?P<unit>{UNIT})(?!\w)"
            carried = re.match(later, hidden[match.end() :])
            unit = carried["unit"] if carried else None
            head = next((h for a, b, h in headers if a <= match.start() < b), "")
            named = re.search(rf"(?<!\w)(?:{UNIT})(?!\w)", head)
            unit = unit or (named[0] if named else None)
        value = float(match["digits"].replace(",", ""))
        half = 0.5 * 10.0**-decimals
        about = ABOUT.search(hidden[: match.start()])
        if about and not decimals and value >= 100:  # "about 300": two digits are meant
            half = max(half, 0.5 * 10.0 ** (math.floor(math.log10(value)) - 1))
        value = -value if match["sign"] else value
        factors = UNITS.get(unit, (1,))
        found.append(
            Number(
                match[0], match.start(), match.end(),
                [(value * f, half * f) for f in factors],
                weak=significant <= 2,
                percent=unit in PERCENT,
                whole=not decimals and abs(value) < 10 and not about and factors == (1,),
            )
        )  # fmt: skip
    return sorted(found + in_words(hidden), key=lambda number: number.start)


def in_words(text):
    found = []
    for match in PART.finditer(text):
        many = (
            1 if match["half"] else {"a": 1, "an": 1, "one": 1, **SMALL}[match["many"].lower()]
        )
        value = many / PARTS[(match["part"] or "half").lower()]
        found.append(Number(match[0], *match.span(), [(value, 0.05 * value)]))
    for match in WORD.finditer(text):
        if any(f.start < match.end() and match.start() < f.end for f in found):
            continue
        word = (match["few"] or match["word"]).lower()
        value = (SMALL | WORDS | POWERS)[word]
        first = match[0].split()[0].lower()
        value *= SMALL.get(first, 1) if word in POWERS else 1
        if word in POWERS and re.search(rf"{DIGITS} $", text[: match.start()]):
            continue  # "300 million" is read with its digits
        value *= POWERS[match["power"].lower()] if match["power"] else 1
        half = 0.05 * value if value >= 100 else 0.5
        about = ABOUT.search(text[: match.start()])
        found.append(
            Number(match[0], *match.span(), [(value, half)], whole=value < 100 and not about)
        )
    return found


def flat(tokens):
    """The text of inline Markdown: no link targets; code and formulas stay marked."""
    parts = []
    for token in tokens or []:
        if token.type == "image":
            parts.append(flat(token.children))
        elif token.type == "code_inline":
            parts.append(f"`{token.content}`")
        elif token.type == "math_inline":
            parts.append(f"${token.content}$")
        elif token.type in ("softbreak", "hardbreak"):
            parts.append(" ")
        elif token.type != "html_inline":
            parts.append(token.content)
    return "".join(parts)


def plain(piece):
    """A verbatim piece of a page as the blocks show it."""
    return " ".join(flat(MARKDOWN.parseInline(piece)[0].children).split())


def blocks(text, where="line {}", section=0, cell=0, first=1):
    """Prose in Markdown; also the generated parts, as (block, the part's name or None)."""
    found, generated, row, heads, place = [], None, None, [], ""
    for token in MARKDOWN.parse(text):
        if token.map:
            place = where.format(first + token.map[0])
        if token.type == "heading_open":
            section += 1
        elif token.type == "html_block":
            for mark in re.findall(r"<!-- (.+?) -->", token.content):
                generated = None if mark.startswith("end of ") else mark
        elif token.type == "fence" and token.info.startswith("{"):
            alt = re.findall(r"^:alt: (.*)$", token.content, flags=re.M)
            inner = re.sub(r"^:\w+:.*$", "", token.content, flags=re.M) if not alt else alt[0]
            found += blocks(inner, where, section, cell, first + token.map[0] + 1)
        elif token.type == "tr_open":
            row = []
        elif token.type == "tr_close":
            body, spans = "", []
            for i, text_ in enumerate(row):
                head = heads[i] if i < len(heads) else ""
                spans.append((len(body), len(body) + len(text_), head))
                body += text_ + " | "
            heads, row = (
                heads or row,
                found.append((Block(body, place, section, cell, spans), generated)),
            )
        elif token.type == "table_close":
            heads = []
        elif token.type in ("inline", "math_block"):
            said = flat(token.children) if token.type == "inline" else f"${token.content}$"
            said = " ".join(said.split())
            if row is not None:
                row.append(said)
            else:
                found.append((Block(said, place, section, cell), generated))
    return found


# Holders --------------------------------------------------------------------------------

LOOKS = {"figsize", "fontsize", "lw", "linewidth", "alpha", "pad", "markersize", "rotation"}
LOOKS |= {"size", "ylim", "xlim", "bbox_to_anchor", "s", "dpi", "zorder", "labelpad"}


def in_text(text, **place):
    """The numbers of an output."""
    found = []
    for match in NUMBER.finditer(text):
        factor = UNITS.get(match["unit"], (1,))[0]
        value = float(match["digits"].replace(",", "")) * factor * (-1 if match["sign"] else 1)
        percent, exact = match["unit"] in PERCENT, digits_of(match["digits"])[1] == 0
        found.append(Holder(value, percent, exact and factor == 1, **place))
    return found


def in_code(code, **place):
    """The numbers of a cell's code, but for those that say how a figure looks."""
    found = []

    def visit(node):
        if isinstance(node, ast.keyword) and node.arg in LOOKS:
            return
        if isinstance(node, ast.BinOp | ast.UnaryOp | ast.Constant):
            try:
                value = eval(ast.unparse(node), {"__builtins__": {}})
            except Exception:
                value = None
            if isinstance(value, int | float) and not isinstance(value, bool):
                found.append(Holder(value, exact=isinstance(value, int), **place))
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree(code))
    return found


def typed(cell):
    """Texts in the code that hold a digit: what they say was typed, not computed."""
    texts = [n.value for n in ast.walk(tree(cell)) if isinstance(n, ast.Constant)]
    return [t.strip() for t in texts if isinstance(t, str) and re.search(r"\d", t)]


def shown(output):
    """What an output shows as text; bars of progress aside."""
    if output.output_type == "stream":
        return "" if output.name == "stderr" or "%|" in output.text else output.text
    data = output.get("data", {})
    if "text/html" in data:
        soup = BeautifulSoup("".join(data["text/html"]), "html.parser")
        for part in soup(["script", "style"]):
            part.decompose()
        return soup.get_text(" ")
    return "" if "image/png" in data else "".join(data.get("text/plain", ""))


def leaves(value):
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in leaves(part)]
    if isinstance(value, list):
        return [leaf for part in value for leaf in leaves(part)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def in_record(name):
    """A recorded run, all seeds of it with mean and ends, or one file of results."""
    if not (RUNS / name).is_dir():
        (path,) = RUNS.glob(f"{name}.json*")
        lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        values = leaves([json.loads(line) for line in lines])
    else:
        seeds = sorted((RUNS / name).glob("seed*"))
        sums = [json.loads((seed / "summary.json").read_text()) for seed in seeds]
        values = leaves(sums) + [len(seeds)]
        for row in zip(*map(leaves, sums), strict=False):
            values += [min(row), max(row), sum(row) / len(row)]
        for seed in seeds:
            values += leaves(yaml.safe_load((seed / "config.yaml").read_text()))
            rows = csv.DictReader(io.StringIO((seed / "history.csv").read_text()))
            values += [float(v) for r in rows for v in r.values() if v and "." in v]
    return [Holder(v, exact=isinstance(v, int)) for v in values if math.isfinite(v)]


def named_records(text):
    names = [p.stem if p.is_file() else p.name for p in RUNS.iterdir()]
    return {
        n for n in names if re.search(rf"(?:runs/|[`\"']){re.escape(n)}(?:[`\"'/.]|$)", text)
    }


def holds(holder, number):
    for i, (value, half) in enumerate(number.values):
        said = holder.value if value < 0 else abs(holder.value)
        if number.percent:
            if i == 0 and holder.exact and not holder.percent:
                continue  # 81% is not held by some 81
            if i == 1 and (holder.percent or (holder.exact and said > 1)):
                continue
        elif holder.percent:
            said /= 100
        if number.whole:
            half = 0
        if abs(said - value) <= half + 1e-9 * max(1, abs(value)):
            return True
    return False


# Sums in the prose ----------------------------------------------------------------------

TERM = rf"(?:√|ln *|e\^)?{DIGITS}(?: *ln *{DIGITS})?[²³]?%?"
SIDE = rf"[-−]?{TERM}(?: *[-−+·×*/] *{TERM})*"
CHAIN = re.compile(rf"(?<![\w.)\]}}^·×*/+]){SIDE}(?: *[=≈] *{SIDE})+(?! *[·×*/+^(√]|[\w²³])")


def sums(text):
    """Chains such as "3 · 4 · 4 = 48": (start, end, whether they are right)."""
    for name, sign in [(r"\cdot", "·"), (r"\times", "×"), (r"\approx", "≈"), (r"\ln", "ln")]:
        text = text.replace(name, sign.ljust(len(name)))
    found = []
    for match in CHAIN.finditer(text):
        before = text[: match.start()].rstrip()[-1:]
        if before and before in "·×*/+^√=≈":
            continue
        sides = re.split("[=≈]", match[0])
        values = [evaluate(side) for side in sides]
        shown = [
            digits_of(d[1])[1]
            for d in (re.fullmatch(rf" *({DIGITS})%? *", s) for s in sides)
            if d
        ]
        rounded = "≈" in match[0] or max(shown, default=0) > 0
        near = 0.5 * 10.0 ** -max(shown, default=0) if rounded else 0
        right = max(values) - min(values) <= near + 1e-9 * abs(values[0])
        found.append((match.start(), match.end(), right))
    return found


def evaluate(side):
    side = re.sub(r"(?<=\d),(?=\d{3})|%", "", side)
    side = re.sub(rf"({DIGITS})( *)ln", r"\1*ln", side)
    side = re.sub(rf"√({DIGITS})", r"(\1)**.5", side)
    side = re.sub(rf"ln *({DIGITS})", r"log(\1)", side)
    side = re.sub(rf"e\^({DIGITS})", r"exp(\1)", side)
    for old, new in [("·", "*"), ("×", "*"), ("−", "-"), ("²", "**2"), ("³", "**3")]:
        side = side.replace(old, new)
    try:
        return float(eval(side, {"__builtins__": {}, "log": math.log, "exp": math.exp}))
    except (ArithmeticError, ValueError):
        return math.nan


# The page -------------------------------------------------------------------------------


class Page:
    def __init__(self, path, sources=None, text=None):
        self.path = Path(path)
        self.name = (
            str(self.path.relative_to(ROOT))
            if self.path.is_relative_to(ROOT)
            else self.path.name
        )
        known = yaml.safe_load(SOURCES.read_text("utf-8")) if sources is None else sources
        self.entries = known.get(self.name) or []
        self.blocks, self.holders, self.code, self.raw = [], [], [], []
        self.spans = {}  # cell -> first and last cell of the code beside it
        (self.notebook if self.path.suffix == ".ipynb" else self.markdown)()
        for block in self.blocks:
            for start, end, right in sums(block.text):
                if right:
                    self.holders += in_text(
                        block.text[start:end], section=block.section, cell=block.cell
                    )

    def markdown(self):
        text = self.path.read_text("utf-8")
        self.raw = [text]
        for block, generated in blocks(text):
            if generated:
                self.holders += in_text(block.text, section=block.section)
            else:
                self.blocks.append(block)

    def notebook(self):
        cells, section = nbformat.read(self.path, 4).cells, 0
        literals = [text for cell in cells if cell.cell_type == "code" for text in typed(cell)]
        for i, cell in enumerate(cells):
            before = after = i
            while before > 0 and cells[before - 1].cell_type == "code":
                before -= 1
            while after + 1 < len(cells) and cells[after + 1].cell_type == "code":
                after += 1
            self.spans[i] = (before, after)
            if cell.cell_type == "markdown":
                self.raw.append(cell.source)
                self.blocks += [
                    b for b, _ in blocks(cell.source, f"cell {cell.id}", section, i)
                ]
                section = max([section, *(b.section for b in self.blocks)])
                continue
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt")
            if alt:
                self.raw.append(alt)
                self.blocks.append(Block(alt, f"cell {cell.id}, alt text", section, i))
            self.code.append(cell.source)
            self.holders += in_code(cell, section=section, cell=i)
            for output in cell.outputs:
                text = shown(output)
                for literal in literals:
                    text = text.replace(literal, " ")
                self.holders += in_text(text, section=section, cell=i)

    def near(self, block):
        """What can hold a number of two digits or fewer: the section, and the code beside."""
        low, high = self.spans.get(block.cell, (0, 0))
        return [
            h for h in self.holders
            if h.section == block.section or (h.cell is not None and low <= h.cell <= high)
        ]  # fmt: skip

    def records(self, block):
        names = named_records(block.text)
        if not names:
            texts = [b.text for b in self.blocks if b.section == block.section]
            names = named_records(" ".join(texts))
        return [h for name in sorted(names) for h in record(name)]

    def loose(self):
        """What nothing holds: (block, number)."""
        return [pair for block in self.blocks for pair in self.loose_in(block)]

    def loose_in(self, block):
        found = []
        if True:
            chains = sums(block.text)
            sourced = []
            for entry in self.entries:
                piece = plain(str(entry.get("sentence", "")))
                if piece and piece in block.text:
                    at = block.text.index(piece)
                    sourced.append((at, at + len(piece), str(entry.get("number"))))
            near, records = self.near(block), self.records(block)
            for number in numbers(block.text, block.headers):
                inside = lambda s, e: s <= number.start and number.end <= e
                if any(inside(s, e) and right for s, e, right in chains):
                    continue
                if any(inside(s, e) and same(n, number.text) for s, e, n in sourced):
                    continue
                if self.in_backticks(block.text, number):
                    continue
                pool = near + records if number.weak else self.holders + records
                if not any(holds(holder, number) for holder in pool):
                    found.append((block, number))
        return found

    def in_backticks(self, text, number):
        """Code in the prose that stands in a code cell as well."""
        for match in re.finditer(r"`([^`]*)`", text):
            if match.start() < number.start and number.end < match.end():
                return any(match[1] in source for source in self.code)
        return False


def same(one, other):
    strip = lambda t: re.sub(r"[\s,]|(?:%|percent)$", "", str(t)).replace("−", "-")
    return strip(one) == strip(other) or strip(one) in strip(other)


@cache
def record(name):
    return in_record(name)
