"""Driving the attention viewer in a browser, alone on a page or inside a chapter."""

import base64
import json
import re

import numpy as np
import torch


def sent(text):
    """The data that a viewer's HTML carries."""
    return json.loads(
        re.search(r'<script type="application/json"[^>]*>(.*?)</script>', text)[1]
    )


def unpacked(table, shape):
    """Weights as the page has them."""
    rows = np.frombuffer(base64.b64decode(table["bytes"]), "u1").reshape(shape)
    scales = np.frombuffer(base64.b64decode(table["scales"]), "<u2").reshape(shape[:-1])
    return torch.from_numpy(rows / 255 * (scales / 65535 * table["unit"])[..., None])


def at(viewer, row, column):
    """The middle of a patch on the screen."""
    viewer.locator(".vv-picture").scroll_into_view_if_needed()
    box = viewer.locator(".vv-picture").bounding_box()
    return box["x"] + box["width"] * (column + 0.5) / 8, box["y"] + box["height"] * (
        row + 0.5
    ) / 8


def said(viewer):
    return viewer.locator(".vv-said").inner_text()


def listed(looks):
    """How the readout names the three strongest patches; rows and columns count from 0."""
    top = looks.argsort(descending=True)[:3].tolist()
    return [f"row {p // 8}, column {p % 8} ({100 * looks[p]:.1f}%)" for p in top]


def tables(data, layers, heads, tokens):
    """What a viewer's data hold: weights (layer, head, query, key), and the joined tables."""
    weights = unpacked(data["weights"], (layers, heads, tokens, tokens))
    joined = {k: unpacked(t, (tokens, tokens)) for k, t in data["tables"].items()}
    return weights, joined


def drive(page, viewer, data, touch):
    """Use pointer or finger, buttons and keys; every number shown must be the tensor's.

    Args:
        page: of Playwright.
        viewer: the locator of a viewer of the digits-canvas model.
        data: what the viewer was sent.
        touch: tap instead of click.
    """
    weights, joined = tables(data, 5, 4, 65)
    viewer.locator(".vv-said").wait_for()
    assert "Layer 5, mean of heads: the class token looks most at" in said(viewer)
    x, y = at(viewer, 4, 3)
    page.touchscreen.tap(x, y) if touch else page.mouse.click(x, y)
    assert "row 4, column 3 looks most at" in said(viewer)
    for line in listed(weights[4].mean(dim=0)[1 + 4 * 8 + 3, 1:]):
        assert line in said(viewer)
    thumbnail = viewer.locator(".vv-overview button").nth(4 * 1 + 2)  # layer 2, head 3
    thumbnail.tap() if touch else thumbnail.click()
    assert said(viewer).startswith("Layer 2, head 3: row 4, column 3")
    for line in listed(weights[1, 2, 1 + 4 * 8 + 3, 1:]):
        assert line in said(viewer)
    viewer.locator(".vv-picture").focus()
    for key in ("ArrowRight", "ArrowDown", "h"):
        page.keyboard.press(key)
    token = 1 + 5 * 8 + 4
    assert said(viewer).startswith("Layer 2, head 4: row 5, column 4")
    for line in listed(weights[1, 3, token, 1:]):
        assert line in said(viewer)
    looked = viewer.get_by_role("button", name="is looked at by")
    if not touch:  # the way there crosses many patches, and must pick none
        box = looked.bounding_box()
        page.mouse.move(box["x"] + 9, box["y"] + 9, steps=20)
        assert "row 5, column 4 looks most at" in said(viewer)
    looked.click()
    assert "is looked at most by" in said(viewer)
    for line in listed(weights[1, 3][1:, token]):
        assert line in said(viewer)
    viewer.get_by_role("button", name="rollout").click()
    assert said(viewer).startswith("Rollout: row 5, column 4 goes most into")
    for line in listed(joined["rollout"][1:, token]):
        assert line in said(viewer)
    assert viewer.get_by_label("layer", exact=True).is_disabled()
    viewer.locator(".vv-picture").focus()
    page.keyboard.press("l")  # no layer to change here
    viewer.get_by_role("button", name="relevance").click()
    viewer.get_by_role("button", name="looks at", exact=True).click()
    viewer.get_by_role("button", name="class token").click()
    best = joined["relevance"][0, 1:].argmax().item()
    where = f"row {best // 8}, column {best % 8} "
    assert said(viewer).startswith(f"Relevance: the class token draws most on {where}")
    viewer.get_by_role("button", name="attention").click()
    assert said(viewer).startswith("Layer 2, head 4: the class token")
    viewer.get_by_label("layer", exact=True).select_option(label="layer 4")
    viewer.get_by_label("head", exact=True).select_option(label="mean of heads")
    assert said(viewer).startswith("Layer 4, mean of heads: the class token looks")
    for line in listed(weights[3].mean(dim=0)[0, 1:]):
        assert line in said(viewer)
    viewer.locator(".vv-picture").focus()
    page.keyboard.press("l")
    page.keyboard.press("ArrowUp")
    assert said(viewer).startswith("Layer 5, mean of heads: row 0, column 0 looks")
    page.keyboard.press("Home")
    assert "the class token looks" in said(viewer)
    thumbnail.focus()
    page.keyboard.press("ArrowDown")
    assert said(viewer).startswith("Layer 3, head 3: the class token looks")
    for line in listed(weights[2, 2, 0, 1:]):
        assert line in said(viewer)
    name, share = data["predictions"][0]
    first = viewer.locator(".vv-bars li").first.inner_text().split("\n")
    assert first == [name, f"{100 * share:.0f}%"]
