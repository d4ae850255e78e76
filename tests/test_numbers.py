"""Every number in the prose of the book is held in place, and the net that says so holds."""

import re
from collections import Counter
from dataclasses import replace

import evidence
import nbformat
import prose
import pytest
from evidence import Page
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from prose import DIGITS, numbers, plain, sums

from notebooks import ROOT

CHAPTERS = sorted(ROOT.glob("notebooks/*.ipynb"))
PAGES = [*CHAPTERS, *sorted(ROOT.glob("book/*.md")), ROOT / "README.md"]
PAGES.append(ROOT / "scripts/results.py")  # its texts go into the results page
pages = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
ADVICE = """
Print a measured number in a cell, or name the record it comes from in the same paragraph; write
a derived one as a sum, "8 · 8 = 64"; enter what others published, or an estimate such as the
minutes to read, in book/sources.yaml."""


def complaints(page):
    """What is wrong on a page, each with its place, its sentence and its number."""
    said = [f"{b.where}: this sum is not right: {s}" for b, s in page.wrong]
    for block in page.blocks:
        for number in page.loose(block):
            sentence = block.sentences(number.start)[0].strip()
            said.append(f"{block.where}: nothing holds {number.text!r} in: {sentence}")
    for entry in page.entries:
        piece = " ".join(str(entry.get("sentence")).split())
        if set(entry) != {"number", "sentence", "from"}:
            said.append(f"sources.yaml: number, sentence and from are wanted: {entry}")
        elif not any(piece in " ".join(raw.split()) for raw in page.raw):
            said.append(f"sources.yaml: this is no longer on the page: {piece}")
        elif not any(page.held_by_entry(entry, block) for block in page.blocks):
            said.append(f"sources.yaml: {entry['number']!r} is no number of: {plain(piece)}")
        elif len(str(entry["from"])) < 8 or "measured" in str(entry["from"]).lower():
            said.append(f"sources.yaml: a paper, a derivation or a count is wanted: {entry}")
    return said


@pages
def test_every_number_is_held(path):
    said = complaints(Page(path))
    assert not said, f"{path.relative_to(ROOT)}: {len(said)}\n" + "\n".join(said) + ADVICE


def test_sources_are_of_pages_that_exist():
    known = {str(path.relative_to(ROOT)) for path in PAGES}
    assert set(evidence.sources()) <= known


# What is read ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("It reaches 81.3% and 1,203,338 parameters.", [81.3, 1203338]),
        ("from 98 to 99%, at 1e-3, by −1.5 points or -.25", [98, 99, 1e-3, -1.5, -0.25]),
        ("a 32 × 32 picture, 4×4 patches, 3-fold", [32, 32, 4, 4, 3]),
        ("1.2M, 11 million, 2.5 billion, 164 MFLOPs", [1.2e6, 11e6, 2.5e9, 164e6]),
        ("ten classes, two hundred, a thousand times", [10, 200, 1000]),
        ("four times, three wide layers, two things", [4, 3]),
        ("sixty-four patches, three million", [64, 3e6]),
        ("two thirds of it, a tenth of it, a third time", [2 / 3, 0.1]),
        ("$P = 16$ and $4nD^2$, $e^2 \\approx 7.39$, `dim=192`", [16, 7.39, 192]),
        ("`(1, 64, 48)` but `(b, N + 1, D)`", [1, 64, 48]),
        ("[88%](https://a.org/99) and ![in 5 steps](fig7.svg)", [88, 5]),
    ],
)
def test_numbers_are_read(text, values):
    assert [n.values[0][0] for n in numbers(plain(text))] == pytest.approx(values)


NO_QUANTITY = {
    "a name that holds a digit": "CIFAR-10, ViT-B/16, float32, v1.1.0, A_1, cell 05-038",
    "an ordinal or a dimension": "16th, 2-D, 3D",
    "the year of a citation": "Beyer et al. 2022 and (Krizhevsky 2009)",
    "a place in a row of things": "chapters 3 to 5, eq. 6, Python 3.11, rows 0, 8 and 16",
    "a power or an index": "$x^2$, $z_0$, P², 10⁻⁶",
}


@pytest.mark.parametrize("kind", prose.EXEMPT)
def test_what_states_no_quantity_is_not_read(kind, monkeypatch):
    assert not numbers(NO_QUANTITY[kind])
    monkeypatch.setattr(prose, "EXEMPT", {k: v for k, v in prose.EXEMPT.items() if k != kind})
    assert numbers(NO_QUANTITY[kind]), "this exemption is not needed"


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("3 · 4 · 4 = 48", "3 · 4 · 4 = 49"),
        ("64 · 48 = 3,072 = 3 · 32 · 32", "64 · 48 = 3,072 = 3 · 32 · 33"),
        ("1,024² ≈ 1.05 million", "1,024² ≈ 1.04 million"),
        ("√16 = 4", "√15 = 4"),
        ("0.665 · 10 + 0.245 · 10 = 9.10", "0.665 · 10 + 0.245 · 10 = 9.11"),
        (r"-9 \cdot 0.01 \ln 0.01 \approx 0.41", r"-9 \cdot 0.01 \ln 0.01 \approx 0.42"),
        (r"\ln 10 \approx 2.303", r"\ln 10 \approx 2.302"),
        ("98.1% − 77.5% = 20.6", "98.1% − 77.5% = 20.7"),
        ("512 / 12 ≈ 42.7", "512 / 12 ≈ 42.6"),
    ],
)
def test_sums_in_the_prose_are_done_again(right, wrong):
    assert [ok for _, _, ok in sums(right)] == [True]
    assert [ok for _, _, ok in sums(wrong)] == [False]


def test_what_is_no_sum_is_left_alone():
    assert not sums("n · 64 = 128, with d = 4, 64 and N = 2D = 384")


# Planted faults -------------------------------------------------------------------------------

CODE = 'share = 0.2\n_ = ax.set_title("see 37 cats", fontsize=23)\nprint("of 55 dogs", hits)'
OUTPUT = """accuracy 0.8133
parameters: 1,203,338   seconds: 3766   drop: -0.51
method          hits             share
middle          64% [62%, 66%]   37%
rollout         98% [97%, 99%]   63%
of 55 dogs 71"""


def notebook(tmp_path, text, alt="", sources=(), later=""):
    shown = new_code_cell(CODE, outputs=[new_output("stream", name="stdout", text=OUTPUT)])
    shown.metadata = {"mystnb": {"image": {"alt": alt}}}
    parts = [new_markdown_cell("# Title\n\nA digit."), shown, new_markdown_cell(text)]
    parts += [new_code_cell("1 + 1"), new_markdown_cell(f"## Later\n\n{later}")]
    for number, cell in enumerate(parts):
        cell.id = f"00-{number:03d}"
    nbformat.write(new_notebook(cells=parts), tmp_path / "made_up.ipynb")
    return complaints(Page(tmp_path / "made_up.ipynb", {"made_up.ipynb": list(sources)}))


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("rounding", "An accuracy of 81.3%.", "An accuracy of 81.4%."),
        ("rounding up", "An accuracy of 0.813.", "An accuracy of 0.814."),
        ("too many digits", "It is 81.33% right.", "It is 81.330% right, or 81.34%."),
        ("a unit", "1.2 million parameters", "1.2 thousand parameters"),
        ("a unit of time", "63 minutes (3766 seconds)", "63 hours (3766 seconds)"),
        ("percent of what", "A share of 20%.", "It is 71% right."),
        ("a sign", "A drop of −0.51, or of 0.51.", "An accuracy of −0.8133."),
        ("from nowhere", "1,203,338 of them", "1,203,339 of them"),
        ("in words", "twelve patches, 6 · 2 = 12", "eleven patches, 6 · 2 = 12"),
        ("a part in words", "a share: a fifth of them", "a share: a quarter of them"),
        ("in a heading", "## With 1,203,338 parameters", "## With 1,203,333 parameters"),
        ("in a table", "| a | b |\n|-|-|\n| x | 81.3% |", "| a | b |\n|-|-|\n| x | 81.5% |"),
        ("in a formula", "$N = 3766$ and $3xy^2$", "$N = 3767$"),
        ("another row's", "The middle hits 64%.", "The middle hits 98%."),
        ("an interval's end", "Rollout hits 97% to 99%.", "Rollout hits 97%."),
        ("a count is exact", "71 of the dogs", "81 of them, 3,765 of them"),
        ("a sum", "Here 6 · 12 = 72.", "Here 6 · 12 = 73."),
        ("typed, not computed", "71 dogs", "55 dogs"),
        ("style", "an accuracy of about .8", "23 pixels and 37 cats"),
        ("code", "`share = 0.2` is set", "`share = 0.3` is set"),
    ],
)  # fmt: skip
def test_a_planted_fault_is_found(kind, good, bad, tmp_path):
    assert not notebook(tmp_path, good), kind
    (first, *_) = notebook(tmp_path, bad)
    assert first.startswith("cell 00-002: "), kind


def test_a_fault_in_an_alt_text_is_found(tmp_path):
    assert not notebook(tmp_path, "", alt="A bar at 81.3 percent.")
    assert notebook(tmp_path, "", alt="A bar at 81.2 percent.") == [
        "cell 00-001, alt text: nothing holds '81.2 percent' in: A bar at 81.2 percent."
    ]


def test_two_digits_are_held_in_their_own_section_only(tmp_path):
    assert not notebook(tmp_path, "", later="An accuracy of 81.3%.")
    assert len(notebook(tmp_path, "", later="An accuracy of 81%.")) == 1


def test_an_entry_of_the_sources_holds_and_can_go_stale(tmp_path):
    text = "Others report **88%** (with 50 epochs)."
    entry = {"number": "88%", "sentence": "report **88%** (with", "from": "their README"}
    epochs = {"number": "50", "sentence": "50 epochs", "from": "their README"}
    assert not notebook(tmp_path, text, sources=[entry, epochs])
    for change, complaint in [
        ({"sentence": "report **87%** (with"}, "no longer on the page"),
        ({"number": "89%"}, "is no number of"),
        ({"from": "measured once"}, "a paper, a derivation or a count"),
        ({"from": ""}, "a paper, a derivation or a count"),
    ]:
        said = notebook(tmp_path, text, sources=[entry | change, epochs])
        assert any(complaint in line for line in said), change
    assert "number, sentence and from" in notebook(tmp_path, "", sources=[{"number": "1"}])[0]


def page(tmp_path, text):
    (tmp_path / "made_up.md").write_text(text)
    return complaints(Page(tmp_path / "made_up.md", {}))


def test_a_page_is_held_by_the_record_it_names(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "RUNS", tmp_path / "runs")
    for run, seeds in {"ours": [0.811, 0.815], "theirs": [0.604]}.items():
        for seed, value in enumerate(seeds):
            folder = tmp_path / "runs" / run / f"seed{seed}"
            folder.mkdir(parents=True)
            (folder / "summary.json").write_text(f'{{"accuracy": {value}, "seconds": 3766}}')
            (folder / "config.yaml").write_text("train: {epochs: 18}")
            (folder / "history.csv").write_text("epoch,loss\n1,1.852\n")
    evidence.in_record.cache_clear()
    good = (
        "# A\n\nThe run `ours` took 63 minutes and 18 epochs: 81.3% (81.1% to 81.5%), 2 seeds."
    )
    assert not page(tmp_path, good)
    assert page(tmp_path, good.replace("81.3%", "81.4%")) == [
        "line 3: nothing holds '81.4%' in: " + good[5:].replace("81.3%", "81.4%")
    ]
    assert page(tmp_path, good.replace("ours", "theirs"))
    assert not page(tmp_path, good + "\n\nIts loss begins at 1.85.")
    assert page(tmp_path, good + "\n\n## B\n\nIts loss begins at 1.85.")
    drawn = "# A\n\n<!-- marks -->\n\nSo 71 of them.\n\n<!-- end of marks -->\n\nAgain 71."
    assert not page(tmp_path, drawn) and page(tmp_path, drawn + "\n\nAnd 72.")
    directive = "# A\n\n```{{image}} x.png\n:alt: A bar of 17 pixels.\n:width: 90%\n```\n"
    assert page(tmp_path, directive.format()) == [
        "line 4: nothing holds '17' in: A bar of 17 pixels."
    ]
    evidence.in_record.cache_clear()


# How strong the net is ------------------------------------------------------------------------


def kind_of(number):
    shown = re.search(DIGITS, number.text)
    if not shown:
        return "words"
    if not number.weak:
        return "three digits or more"
    if number.percent or number.decimals:
        return "percents" if number.percent else "decimals"
    return "below 10" if len(shown[0]) == 1 else "10 to 99"


def shifted(number, step):
    """The number's text with its last digit moved."""
    shown = re.search(DIGITS, number.text)
    mantissa, e, power = shown[0].partition("e")
    decimals = len(mantissa.partition(".")[2])
    value = float(mantissa.replace(",", "")) + step * 10**-decimals
    text = f"{value:,.{decimals}f}" if "," in mantissa else f"{value:.{decimals}f}"
    text = text[1:] if mantissa[0] == "." else text
    return number.text[: shown.start()] + text + e + power + number.text[shown.end() :]


def test_a_row_is_known_by_its_words_in_pieces_too_and_under_a_typed_name(tmp_path):
    """What a cell prints is stored in pieces sometimes; a name with a digit is a name."""
    lines = ["middle   64%\n", "ink   46%\n", "layer 3   99%\n", "layer 2   94%\n"]
    cell = new_code_cell('names = ["middle", "ink", "layer 3", "layer 2"]')
    cell.outputs = [new_output("stream", name="stdout", text=line) for line in lines]
    for said, wrong in (
        ("the middle 64%, layer 3 99%", 0),
        ("the middle 46%", 1),
        ("ink 94%", 1),
    ):
        made = new_notebook(cells=[cell, new_markdown_cell(f"Hits: {said}.")])
        nbformat.write(made, tmp_path / "made_up.ipynb")
        assert len(complaints(Page(tmp_path / "made_up.ipynb", {}))) == wrong, said


def caught(page):
    """Changes by one in the last digit, by kind of number: how many, and how many are found."""
    tried, found = Counter(), Counter()
    for place, block in enumerate(page.blocks):
        loose = page.loose(block)
        for number in numbers(block.text):
            if kind_of(number) == "words" or number in loose:
                continue
            for step in (-1, 1):
                text = block.text[: number.start] + shifted(number, step)
                text += block.text[number.end :]
                page.blocks[place] = changed = replace(block, text=text)
                bad = any(n.start == number.start for n in page.loose(changed))
                wrong = any(a <= number.start < b and not ok for a, b, ok in sums(text))
                tried[kind_of(number)] += 1
                found[kind_of(number)] += bad or wrong
            page.blocks[place] = block
    return tried, found


def test_most_changes_by_one_in_the_last_digit_are_found(capsys):
    tried, found = Counter(), Counter()
    for path in CHAPTERS:
        for total, part in zip((tried, found), caught(Page(path)), strict=True):
            total.update(part)
    shares = {kind: found[kind] / tried[kind] for kind in tried}
    with capsys.disabled():
        print(
            "\n"
            + "\n".join(
                f"{k:<22} {found[k]:>4} of {tried[k]:>4} {shares[k]:.0%}" for k in shares
            )
        )
    assert shares["three digits or more"] > 0.85 and shares["10 to 99"] > 0.75
    assert min(shares["percents"], shares["decimals"]) > 0.6 and shares["below 10"] > 0.3
