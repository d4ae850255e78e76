"""Every number in the prose of the book is held in place by something.

An output, a line of code, a recorded file that the page names, a sum that the prose itself
states and that is right, or an entry of `book/sources.yaml`. How a number is read, and what
holds it, stands in `prose.py`; CONTRIBUTING.md says what to do with one that nothing holds.
"""

import pytest

from notebooks import ROOT
from prose import SOURCES, Page, plain, sums

PAGES = [*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("book/*.md"), ROOT / "README.md"]
PAGES += ROOT.glob("CONTRIBUTING.md")


@pytest.mark.parametrize("path", sorted(PAGES), ids=lambda path: path.stem)
def test_every_number_is_held(path):
    page = Page(path)
    wrong = [
        f"{b.where}: {b.text[s:e]} is not right"
        for b in page.blocks
        for s, e, ok in sums(b.text)
        if not ok
    ]
    told = [
        f"{b.where}: {n.text!r} in “…{b.text[max(0, n.start - 60) : n.end + 40]}…”"
        for b, n in page.loose()
    ]
    advice = "print it, name its record, or enter it in book/sources.yaml"
    assert not told + wrong, (
        f"{page.name}: {len(told + wrong)} loose\n" + "\n".join(wrong + told) + f"\n→ {advice}"
    )


@pytest.mark.parametrize("path", sorted(PAGES), ids=lambda path: path.stem)
def test_sources_are_not_stale(path):
    page = Page(path)
    for entry in page.entries:
        assert set(entry) == {"number", "sentence", "from"}, entry
        piece = " ".join(entry["sentence"].split())
        assert any(piece in " ".join(raw.split()) for raw in page.raw), (
            f"{page.name}: gone: {piece}"
        )
        assert any(plain(piece) in b.text for b in page.blocks), (
            f"{page.name}: not in one block: {piece}"
        )
        assert str(entry["number"]) in piece, entry
        assert len(str(entry["from"])) >= 8 and "measured" not in entry["from"], entry
