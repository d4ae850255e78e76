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
    """How the readout names the three strongest patches."""
    top = looks.argsort(descending=True)[:3].tolist()
    return [f"row {p // 8 + 1}, column {p % 8 + 1} ({100 * looks[p]:.1f}%)" for p in top]


def drive(page, viewer, weights, touch):
    """Use pointer or finger, buttons and keys; every number shown must be the tensor's.

    Args:
        page: of Playwright.
        viewer: the locator of a viewer of the digits-canvas model.
        weights: (layer, head, query, key), as unpacked.
        touch: tap instead of click.
    """
    viewer.locator(".vv-said").wait_for()
    assert "Layer 5, mean of heads: the class token looks most at" in said(viewer)
    x, y = at(viewer, 4, 3)
    page.touchscreen.tap(x, y) if touch else page.mouse.click(x, y)
    assert "row 5, column 4 looks most at" in said(viewer)
    for line in listed(weights[4].mean(dim=0)[1 + 4 * 8 + 3, 1:]):
        assert line in said(viewer)
    thumbnail = viewer.locator(".vv-overview button").nth(4 * 1 + 2)  # layer 2, head 3
    thumbnail.tap() if touch else thumbnail.click()
    assert said(viewer).startswith("Layer 2, head 3: row 5, column 4")
    for line in listed(weights[1, 2, 1 + 4 * 8 + 3, 1:]):
        assert line in said(viewer)
    viewer.locator(".vv-picture").focus()
    for key in ("ArrowRight", "ArrowDown", "h"):
        page.keyboard.press(key)
    token = 1 + 5 * 8 + 4
    assert said(viewer).startswith("Layer 2, head 4: row 6, column 5")
    for line in listed(weights[1, 3, token, 1:]):
        assert line in said(viewer)
    viewer.get_by_role("button", name="is looked at by").click()
    assert "is looked at most by" in said(viewer)
    for line in listed(weights[1, 3][1:, token]):
        assert line in said(viewer)
    viewer.get_by_role("button", name="rollout").click()
    assert said(viewer).startswith("Rollout: row 6, column 5 is looked at most by")
    assert viewer.get_by_label("layer", exact=True).is_disabled()
    viewer.locator(".vv-picture").focus()
    page.keyboard.press("Home")
    assert "the class token" in said(viewer)
