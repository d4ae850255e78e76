"""Line drawings as SVG: they take the page's text colour, so they read in both themes."""

from html import escape

from IPython.display import HTML

from vitbook.plot import BLUE, GREEN, ORANGE, PURPLE, RED

STAGES = ("image", "patches", "tokens", "attention", "blocks", "logits", "maps")


class Drawing:
    """Collects shapes; coordinates are pixels of a canvas that scales with the page."""

    def __init__(self, width, height, alt):
        self.width, self.height, self.alt, self.shapes = width, height, alt, []

    def box(self, x, y, width, height, text="", color=None, strong=False):
        fill = (
            f'fill="{color}" fill-opacity="{0.45 if strong else 0.18}"'
            if color
            else 'fill="none"'
        )
        stroke = 2.5 if strong else 1.2
        self.shapes.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="5" {fill} '
            f'stroke="currentColor" stroke-width="{stroke}"/>'
        )
        for i, line in enumerate(lines := text.split("\n") if text else []):
            middle = y + height / 2 + 5 + 18 * (i - (len(lines) - 1) / 2)
            self.text(x + width / 2, middle, line, bold=strong)

    def text(self, x, y, text, anchor="middle", bold=False, size=15):
        weight = ' font-weight="bold"' if bold else ""
        self.shapes.append(
            f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}"{weight} '
            f'fill="currentColor">{escape(text)}</text>'
        )

    def line(self, *points):
        path = " ".join(f"{x},{y}" for x, y in points)
        self.shapes.append(
            f'<polyline points="{path}" fill="none" stroke="currentColor" stroke-width="1.5"/>'
        )

    def arrow(self, *points):
        (x0, y0), (x, y) = points[-2:]
        length = max(((x - x0) ** 2 + (y - y0) ** 2) ** 0.5, 1e-9)
        dx, dy = (x - x0) / length, (y - y0) / length
        self.line(*points)
        corners = [(x, y), (x - 8 * dx - 4 * dy, y - 8 * dy + 4 * dx)]
        corners.append((x - 8 * dx + 4 * dy, y - 8 * dy - 4 * dx))
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
        self.shapes.append(f'<polygon points="{path}" fill="currentColor"/>')

    def html(self, least=520):
        """The drawing as a notebook output; narrower pages than ``least`` scroll it."""
        style = f"width:100%;min-width:{least}px;max-width:{self.width}px;height:auto"
        return HTML(
            f'<div class="vitbook-diagram" style="overflow-x:auto" tabindex="0">'
            f'<svg viewBox="0 0 {self.width} {self.height}" style="{style}" role="img" '
            f'aria-label="{escape(self.alt)}" font-family="system-ui, sans-serif">'
            f"{''.join(self.shapes)}</svg></div>"
        )


def stage(current):
    """The strip at the top of every chapter, with the present stage lit."""
    drawing = Drawing(
        720, 44, f"The way through the book: {', '.join(STAGES)}. Now: {current}."
    )
    for i, name in enumerate(STAGES):
        lit = name == current
        drawing.box(4 + 103 * i, 6, 90, 32, name, ORANGE if lit else None, strong=lit)
        if i:
            drawing.arrow((103 * i - 9, 22), (103 * i + 3, 22))
    return drawing.html(least=640)


def split_axes():
    """Chapter 1: how the two pixel axes split into grid and patch, then regroup."""
    alt = (
        "The axes c, H and W. H splits into h and ph, W splits into w and pw. Then h and w "
        "join into the patch number, and c, ph and pw join into the patch's content."
    )
    drawing = Drawing(640, 250, alt)
    drawing.box(90, 12, 70, 36, "c", GREEN)
    drawing.box(240, 12, 110, 36, "H = 32", BLUE)
    drawing.box(450, 12, 110, 36, "W = 32", ORANGE)
    names = {"c": 90, "h = 8": 215, "ph = 4": 305, "w = 8": 425, "pw = 4": 515}
    colors = (GREEN, BLUE, BLUE, ORANGE, ORANGE)
    for (name, x), color in zip(names.items(), colors, strict=True):
        drawing.box(x, 98, 70, 36, name, color)
    drawing.arrow((125, 48), (125, 96))
    for start, left, right in ((295, 250, 340), (505, 460, 550)):
        drawing.arrow((start, 48), (left, 96))
        drawing.arrow((start, 48), (right, 96))
    drawing.box(120, 196, 190, 40, "patch number (h w)", PURPLE)
    drawing.box(370, 196, 220, 40, "content (c ph pw)", RED)
    for x, target in ((250, 195), (460, 235), (125, 430), (340, 480), (550, 530)):
        drawing.arrow((x, 134), (target, 194))
    return drawing.html()


def embedding_sum():
    """Chapter 2: class token in front, positions added: eq. 1."""
    alt = (
        "Five columns. Bottom row: class token, then patches 0, 1 and so on to 63, each patch "
        "multiplied by the matrix E. A position is added to each, counted from 0 for the "
        "class token to 64 for patch 63. The sums are the tokens of z zero."
    )
    drawing = Drawing(640, 240, alt)
    columns = ["class", "patch 0", "patch 1", "…", "patch 63"]
    numbers = ["0", "1", "2", "…", "64"]
    for i, (name, number) in enumerate(zip(columns, numbers, strict=True)):
        x = 110 + 104 * i
        drawing.box(x, 10, 88, 36, f"z₀[{number}]" if name != "…" else "…", PURPLE)
        drawing.box(x, 92, 88, 36, f"pos {number}" if name != "…" else "…", BLUE)
        drawing.box(x, 152, 88, 36, name, ORANGE if name == "class" else GREEN)
        drawing.arrow((x + 44, 90), (x + 44, 48))
        drawing.text(x + 44, 146, "+", bold=True)
        if name not in ("class", "…"):
            drawing.text(x + 44, 210, "× E", size=14)
    drawing.text(154, 210, "learned", size=14)
    for y, name in ((33, "tokens"), (115, "position"), (175, "content")):
        drawing.text(96, y, name, anchor="end")
    return drawing.html()


def multi_head():
    """Chapter 3: heads split the width, attend apart, and are joined again."""
    alt = (
        "Tokens of width 192 go through one linear layer to queries, keys and values. The "
        "width is split into three heads of 64. Each head computes its own attention. "
        "Their outputs are put side by side, 192 wide again, and go through a linear layer."
    )
    drawing = Drawing(640, 320, alt)
    drawing.box(220, 8, 200, 36, "tokens: n × 192", GREEN)
    drawing.box(220, 68, 200, 36, "linear: q, k, v", BLUE)
    drawing.arrow((320, 44), (320, 66))
    for i in range(3):
        x = 35 + 200 * i
        drawing.box(x, 136, 170, 72, f"head {i + 1}: n × 64\nsoftmax(q kᵀ / √64) v", ORANGE)
        drawing.arrow((320, 104), (x + 85, 134))
        drawing.arrow((x + 85, 208), (320, 236))
    drawing.box(190, 238, 260, 32, "side by side: n × 192")
    drawing.box(220, 284, 200, 32, "linear: n × 192", BLUE)
    drawing.arrow((320, 270), (320, 283))
    return drawing.html()


def norm_orders():
    """Chapter 4: where the norm stands, before the branch or after the sum."""
    alt = (
        "Two blocks side by side. Pre-norm: the stream goes straight up; a branch leaves it, "
        "passes norm then attention or MLP, and is added back. Post-norm: the norm sits on "
        "the stream itself, after the sum."
    )
    drawing = Drawing(480, 290, alt)
    for x, title, pre in ((100, "pre-norm: ViT", True), (340, "post-norm: 2017", False)):
        road = x + 80  # the branch, from the stream at the bottom to the sum at the top
        drawing.text(x + 20, 20, title, bold=True)
        drawing.box(x - 12, 110, 24, 24, "+", GREEN, strong=True)
        drawing.box(x + 25, 150, 110, 34, "attn or MLP", ORANGE)
        drawing.arrow((road, 150), (road, 122), (x + 14, 122))
        if pre:
            drawing.box(x + 25, 204, 110, 34, "norm", BLUE)
            drawing.arrow((road, 204), (road, 186))
        else:
            drawing.box(x - 55, 58, 110, 34, "norm", BLUE, strong=True)
        drawing.arrow((x, 260), (road, 260), (road, 240 if pre else 186))
        drawing.arrow((x, 284), (x, 136))
        drawing.arrow((x, 110), (x, 40 if pre else 94))
        if not pre:
            drawing.arrow((x, 58), (x, 40))
        drawing.text(x - 12, 284, "x", anchor="end")
    return drawing.html(least=340)


def training_step():
    """Chapter 5: one step of training, and what a checkpoint keeps."""
    alt = (
        "A loop of six boxes: batch of uint8 images, augment, normalise, model, loss, "
        "gradients clipped and AdamW step, then the next batch. A checkpoint box keeps "
        "weights, AdamW's averages, the random state and the history."
    )
    drawing = Drawing(660, 210, alt)
    top = ["batch\nuint8", "augment", "normalise", "model", "loss"]
    for i, name in enumerate(top):
        drawing.box(10 + 130 * i, 14, 104, 50, name, GREEN if i < 3 else ORANGE)
        if i:
            drawing.arrow((130 * i - 16, 39), (130 * i + 8, 39))
    drawing.box(480, 122, 154, 50, "gradients,\nclipped", RED)
    drawing.box(268, 122, 154, 50, "AdamW step\nrate of this step", BLUE)
    drawing.box(10, 122, 194, 70, "checkpoint: weights,\nAdamW, dice, history", PURPLE)
    drawing.arrow((582, 64), (582, 120))
    drawing.arrow((480, 147), (424, 147))
    drawing.arrow((268, 147), (206, 147))
    drawing.arrow((345, 122), (345, 93), (62, 93), (62, 66))
    drawing.text(200, 86, "next batch", size=14)
    drawing.text(236, 136, "each", size=13)
    drawing.text(236, 168, "epoch", size=13)
    return drawing.html()


def rollout_flow():
    """Chapter 6: attention and residual as parallel roads through two layers."""
    alt = (
        "Three columns of tokens: input, after layer 1, after layer 2. Between columns, "
        "straight lines carry each token to itself, the residual; crossing lines carry "
        "attention from other tokens."
    )
    drawing = Drawing(600, 250, alt)
    xs, ys = (110, 290, 470), (50, 120, 190)
    for x, title in zip(xs, ("input", "after layer 1", "after layer 2"), strict=True):
        drawing.text(x + 30, 24, title)
        for y, name in zip(ys, ("class", "patch 0", "patch 1"), strict=True):
            drawing.box(x - 8, y - 17, 76, 34, name, ORANGE if name == "class" else GREEN)
    for x in xs[:2]:
        for start in ys:
            for end in ys:
                drawing.arrow((x + 70, start), (x + 170, end))
    drawing.text(
        300, 238, "level arrows: residual + attention to itself;  slanted: attention", size=14
    )
    return drawing.html()
