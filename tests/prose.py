"""Every number that the prose of a page states.

Prose is what a reader reads: paragraphs, headings, tables and formulas of a notebook's
Markdown cells or of a page, and the alt texts of figures. Read as numbers are digits, with
their sign and unit; words from *ten* upward; *two* to *nine* before something that is counted;
and parts, as in *two thirds of*. *One*, *half*, *twice* and *double* are not.

Not read, since they measure nothing: names that hold a digit (CIFAR-10), places in a row of
things (chapter 3, layer 2, seed 0), ordinals, the years of citations, powers and indices, and
in formulas and code with letters whatever does not follow an equals sign. `EXEMPT` is the list.
Comments in code are not read.
"""

import math
import re
from dataclasses import dataclass

from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

MARKDOWN = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin)

# Words and units ------------------------------------------------------------------------------


def counted(words, first, step=1):
    return {word: first + step * i for i, word in enumerate(words.split())}


FEW = counted("two three four five six seven eight nine", 2)
MANY = {"dozen": 12} | counted("ten eleven twelve thirteen fourteen fifteen sixteen", 10)
MANY |= counted("seventeen eighteen nineteen", 17)
TENS = counted("twenty thirty forty fifty sixty seventy eighty ninety", 20, 10)
MANY |= TENS | {
    f"{ten}-{w}": TENS[ten] + n for ten in TENS for w, n in (FEW | {"one": 1}).items()
}
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
ROW = rf"\d+(?:(?:, | to | and | or |–|-)\d+)*(?![\d%]|,\d|\.\d| (?:{COUNTED}))"
EXEMPT = {
    "a name that holds a digit": r"(?<!\w)[^\W\d_]\w*(?:[-/_.:]\w+)*|\b0\d-\d{3}\b",
    "an ordinal or a dimension": r"\b\d+-?(?:st|[nr]d|th|D)\b",
    "the year of a citation": r"(?:al\.|[A-Z][\w’']+),? \(?(?:19|20)\d\d\b",
    "a place in a row of things": rf"(?i:\b(?:eq\.|epoch|appendix|(?:{PLACES})(?:e?s)?)) {ROW}"
    r"|(?i:\b(?:section|exercise|version|python)) \d+\.\d+",
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
    return len((whole + decimals).lstrip("0")), len(decimals) - int(power or 0)


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
            value, half = (FEW | MANY)[low["few"] or low["many"]], 0
            value *= POWERS.get(low["power"], 1)
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
            alts = re.findall(r"^:(?:img-)?alt: (.*)$", token.content, flags=re.M)
            rest = re.sub(r"^:[\w-]+:.*$", "", token.content, flags=re.M)  # other options
            inner = "\n\n".join([*alts, rest])
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
