"""Tasks of chapter 6: maps, what they are followed through, and how they are marked."""

import math

import torch
import torch.nn.functional as F

from vitbook.exercises.task import Question, Task, pencil


def numbers(answer, *given):
    """What a map or a score is, for the eye: no gradient is asked for."""
    found = answer(*given)
    return found.detach() if isinstance(found, torch.Tensor) else found


def tables(*shape, seed=0):
    """Attention weights (…, query, key): rows of positive numbers that sum to one."""
    parts = pencil(*shape, seed=seed) + 2.5
    return parts / parts.sum(dim=-1, keepdim=True)


# 6.7 The row that decides -------------------------------------------------------------------


def class_token_map(weights, layer=-1, registers=0):
    """Where the class token looks: (layer, batch, head, query, key) → (batch, head, patch)."""
    looks = weights[layer, :, :, 0, 1 + registers :]
    return looks / looks.sum(dim=-1, keepdim=True)


def recordings():
    small = torch.tensor([[0.5, 0.125, 0.375], [0.25, 0.5, 0.25], [0.125, 0.125, 0.75]])
    yield "one layer, one head, two patches", (small.double()[None, None, None], -1, 0)
    yield "two layers, the last one asked for", (tables(2, 1, 1, 4, 4), -1, 0)
    yield "the first of two layers, one register", (tables(2, 1, 3, 5, 5), 0, 1)
    yield "a batch of 2, three heads, two registers", (tables(5, 2, 3, 10, 10), 3, 2)


def read(row=lambda t: t[..., 0, :], skip=lambda r: slice(1 + r, None), rescale=True, at=None):
    """The map, with one thing changed."""

    def program(weights, layer=-1, registers=0):
        looks = row(weights[layer if at is None else at])[..., skip(registers)]
        return looks / looks.sum(dim=-1, keepdim=True) if rescale else looks

    return program


def largest_is_one(weights, layer=-1, registers=0):
    looks = weights[layer, :, :, 0, 1 + registers :]
    return looks / looks.amax(dim=-1, keepdim=True)


def softmax_again(weights, layer=-1, registers=0):
    return weights[layer, :, :, 0, 1 + registers :].softmax(dim=-1)


def heads_averaged(weights, layer=-1, registers=0):
    return class_token_map(weights, layer, registers).mean(dim=1)


ROW = Task(
    number="6.7",
    title="The row that decides, with registers",
    text="Some models put extra tokens, *registers*, between the class token and the patches. "
    "They stand for no place. Write `class_token_map` for such a model with so many "
    "`registers`: the class token's row of one layer, for each head, patches only, rescaled to "
    "sum to one.",
    minutes=5,
    trains="which axis looks, and which is looked at",
    section="The row that decides",
    hints=(
        "The last two axes are query and key. Which of them does the class token take?",
        "Which keys are no patches? There are 1 + registers of them.",
        "Pick layer, query 0 and the keys that are patches in one indexing; then divide by "
        "what is left of the row.",
    ),
    solution=class_token_map,
    cases=recordings,
    run=numbers,
    slips={
        "the look at itself is left in: key 0 is the class token.": read(
            skip=lambda r: slice(None)
        ),
        "the registers are left in: they are no patches.": read(skip=lambda r: slice(1, None)),
        "as many tokens as there are registers are missing at the end; they stand behind the "
        "class token.": read(skip=lambda r: slice(1, -r or None)),
        "that is the column: who looks *at* the class token. Its own look is the row.": read(
            row=lambda t: t[..., 0]
        ),
        "the mean of all rows is taken; the class token has one.": read(
            row=lambda t: t.mean(dim=-2)
        ),
        "the rest is not rescaled: it sums to less than one.": read(rescale=False),
        "divided by the largest look, not by the sum.": largest_is_one,
        "a softmax of weights flattens them: divide by the sum.": softmax_again,
        "always the last layer: `layer` is not used.": read(at=-1),
        "always the first layer: the default, -1, is the last.": read(at=0),
        "the heads are averaged; one map per head is asked for.": heads_averaged,
    },
    why="What a map leaves out has to be said: looks at the class token and at registers can "
    "be most of a row.",
    part="class_token_map",
)

# 6.8 Rollout --------------------------------------------------------------------------------


def rollout(weights, residual=0.5):
    """(layer, batch, head, query, key) → how much of each input: (batch, query, key)."""
    layers = (1 - residual) * weights.mean(dim=2)
    layers = layers + residual * torch.eye(weights.shape[-1]).to(weights)
    flow = layers[0]
    for layer in layers[1:]:
        flow = layer @ flow
    return flow


def stacks():
    first, second = [[0.0, 1.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]
    two = torch.tensor([first, second]).double()[:, None, None]
    yield "one layer, one head", (two[:1], 0.5)
    yield "two layers, without the residual", (tables(2, 1, 1, 3, 3), 0.0)
    yield "two layers, one head, a residual of one half", (two, 0.5)
    yield "two layers, a residual of a quarter", (tables(2, 1, 1, 3, 3), 0.25)
    yield "3 layers of 2 heads", (tables(3, 2, 2, 5, 5), 0.25)


def rolled(
    join=lambda w: w.mean(dim=2),
    mix=lambda a, eye, r: (1 - r) * a + r * eye,
    step=lambda layer, flow: layer @ flow,
):
    """A rollout with one thing changed."""

    def program(weights, residual=0.5):
        layers = mix(join(weights), torch.eye(weights.shape[-1]).to(weights), residual)
        flow = layers[0]
        for layer in layers[1:]:
            flow = step(layer, flow)
        return flow

    return program


def head_by_head(weights, residual=0.5):
    return rolled(join=lambda w: w)(weights, residual).mean(dim=1)


def averaged_layers(weights, residual=0.5):
    eye = torch.eye(weights.shape[-1]).to(weights)
    return ((1 - residual) * weights.mean(dim=2) + residual * eye).mean(dim=0)


def residual_at_the_end(weights, residual=0.5):
    eye = torch.eye(weights.shape[-1]).to(weights)
    return (1 - residual) * rolled(mix=lambda a, e, r: a)(weights) + residual * eye


ROLLOUT = Task(
    number="6.8",
    title="Rollout with a louder branch",
    text="The chapter takes attention and residual as equally loud. Write a rollout in which "
    "the residual's share is a number: each layer's matrix is (1 − r) · A + r · I, with A "
    "averaged over heads. 0 leaves the residual out, 0.5 is the chapter's.",
    minutes=10,
    trains="the order of a matrix product",
    section="Rollout",
    hints=(
        "Layer 1 makes mixtures of inputs. Whose rows does layer 2 mix?",
        "Rows sum to one in every factor, and so do the rows of a product: print their sums.",
        "Begin with the first layer's matrix; each further one is multiplied from the left.",
    ),
    solution=rollout,
    cases=stacks,
    run=numbers,
    slips={
        "the product runs the wrong way: upper layers stand on the left.": rolled(
            step=lambda layer, flow: flow @ layer
        ),
        "there is no residual: the identity is missing.": rolled(mix=lambda a, eye, r: a),
        "the identity is added whole: the rows no longer sum to one.": rolled(
            mix=lambda a, eye, r: a + eye
        ),
        "the shares have changed places: r belongs to the identity.": rolled(
            mix=lambda a, eye, r: r * a + (1 - r) * eye
        ),
        "always one half: `residual` is not used.": rolled(mix=lambda a, eye, r: (a + eye) / 2),
        "the residual enters once at the end; every layer has one.": residual_at_the_end,
        "the identity has its share, attention is not scaled: (1 − r) · A.": rolled(
            mix=lambda a, eye, r: a + r * eye
        ),
        "the heads are added, not averaged.": rolled(join=lambda w: w.sum(dim=2)),
        "the strongest head is taken; the chapter averages them.": rolled(
            join=lambda w: w.amax(dim=2)
        ),
        "each head is followed alone; their looks mix after every layer, so average first.": (
            head_by_head
        ),
        "the layers are averaged; a look at a mixture is a matrix product.": averaged_layers,
        "numbers are multiplied place by place: `@` is the sum over all ways.": rolled(
            step=lambda layer, flow: layer * flow
        ),
        "that is the last layer alone.": rolled(step=lambda layer, flow: layer),
    },
    why="The share of one half is an assumption, and the map depends on it. Nobody has told "
    "the model how loud its branch should be.",
    shortcuts=("vitbook.explain.rollout", "vitbook.explain.flow.rollout"),
    part="rollout",
)

# 6.9 Relevance ------------------------------------------------------------------------------


def relevance_map(weights, gradients, class_token):
    """Both (layer, batch, head, query, key) → (batch, patch)."""
    matters = (gradients * weights).clamp(min=0).mean(dim=2)
    start = torch.eye(weights.shape[-1]).to(weights)
    total = start
    for layer in matters:
        total = total + layer @ total
    gained = total - start
    return gained[:, 0, 1:] if class_token else gained.mean(dim=1)


def gradients_too():
    def both(*shape):
        return tables(*shape), pencil(*shape, seed=5)

    small = torch.tensor([[0.5, 0.5], [0.25, 0.75]]).double()[None, None, None]
    slope = torch.tensor([[1.0, 2.0], [-4.0, 4.0]]).double()[None, None, None]
    yield "one layer, a class token and one patch", (small, slope, True)
    yield "one layer without class token", (small, slope, False)
    yield "one layer of two heads", (*both(1, 1, 2, 3, 3), False)
    yield "two layers", (*both(2, 1, 1, 3, 3), True)
    yield "3 layers of 2 heads", (*both(3, 2, 2, 5, 5), True)
    yield "3 layers of 2 heads, without class token", (*both(3, 2, 2, 5, 5), False)


def followed(
    layer_of=lambda a, g: (g * a).clamp(min=0).mean(dim=2),
    step=lambda layer, total: total + layer @ total,
    read=lambda gained, total, cls: gained[:, 0, 1:] if cls else gained.mean(dim=1),
):
    """A relevance with one thing changed."""

    def program(weights, gradients, class_token):
        start = torch.eye(weights.shape[-1]).to(weights)
        total = start
        for layer in layer_of(weights, gradients):
            total = step(layer, total)
        return read(total - start, total, class_token)

    return program


RELEVANCE = Task(
    number="6.9",
    title="Relevance, down to the patches",
    text="From weights and their gradients to one map: follow the chapter's recursion through "
    "the layers, then take off the identity that each token began with, and read the map as it "
    "is, not rescaled. Of a model with a class token (`class_token` is True) it is that "
    "token's row, patches only; without one, the mean of all rows.",
    minutes=15,
    trains="a formula with a mean, a product and a plus, in the right order",
    section="Does the look matter to the answer?",
    hints=(
        "What happens to a head whose product is negative at a place where another head's is "
        "positive? Read the formula from the inside.",
        "Three steps for each layer: product, positive part, mean over heads. Then the "
        "recursion.",
        "Begin with the identity, add `layer @ total` each time; subtract the identity before "
        "you read.",
    ),
    solution=relevance_map,
    cases=gradients_too,
    run=numbers,
    slips={
        "heads are averaged before the positive part is taken: they cancel each other.": (
            followed(lambda a, g: (g * a).mean(dim=2).clamp(min=0))
        ),
        "what speaks against the class is kept, too: take the positive part.": followed(
            lambda a, g: (g * a).mean(dim=2)
        ),
        "what speaks against the class counts as if it spoke for it: positive part, not "
        "amount.": followed(lambda a, g: (g * a).abs().mean(dim=2)),
        "the gradient is not used: that would be a rollout.": followed(
            lambda a, g: a.mean(dim=2)
        ),
        "the look is not used: gradient *times* weight.": followed(
            lambda a, g: g.clamp(min=0).mean(dim=2)
        ),
        "the heads are added, not averaged.": followed(
            lambda a, g: (g * a).clamp(min=0).sum(dim=2)
        ),
        "what was there is lost in each step: R + A R, not A R.": followed(
            step=lambda layer, total: layer @ total
        ),
        "the layer stands on the wrong side: A R, not R A.": followed(
            step=lambda layer, total: total + total @ layer
        ),
        "the layers are added up, not followed: each has to mix what lies below.": followed(
            step=lambda layer, total: total + layer
        ),
        "the identity is still in the map.": followed(
            read=lambda gained, total, cls: total[:, 0, 1:] if cls else total.mean(dim=1)
        ),
        "always the first row: without a class token, row 0 is a patch.": followed(
            read=lambda gained, total, cls: gained[:, 0, 1:] if cls else gained[:, 0]
        ),
        "the mean of all rows; where there is a class token, the answer comes from its row.": (
            followed(
                read=lambda gained, total, cls: (
                    gained.mean(dim=1)[:, 1:] if cls else gained.mean(dim=1)
                )
            )
        ),
        "that is a column, where the map is a row.": followed(
            read=lambda gained, total, cls: gained[:, 1:, 0] if cls else gained.mean(dim=2)
        ),
    },
    why="Without the positive part, looks for and against the class would cancel on the way. "
    "With it, the map keeps silent about what speaks against.",
    part="relevance",
)

# 6.10 How far -------------------------------------------------------------------------------


def distances_apart(weights, grid, patch_size):
    """(layer, batch, head, query, key) → (layer, head, 2): pixels down, and pixels across."""
    patches = grid[0] * grid[1]
    looks = weights[..., -patches:, -patches:]
    looks = looks / looks.sum(dim=-1, keepdim=True)
    places = torch.meshgrid(*map(torch.arange, grid), indexing="ij")
    apart = [(p.flatten()[:, None] - p.flatten()).abs() * patch_size for p in places]
    return torch.stack([(looks * d).sum(dim=-1).mean(dim=(1, 3)) for d in apart], dim=-1)


def fields():
    yield "two patches side by side", (tables(1, 1, 1, 3, 3), (1, 2), 2)
    yield "2 × 3 patches", (tables(1, 1, 1, 7, 7), (2, 3), 1)
    yield "2 layers, 3 heads, 3 × 5 patches", (tables(2, 2, 3, 16, 16), (3, 5), 4)


def apart(
    cut=lambda w, n: w[..., -n:, -n:],
    rescale=-1,
    distance=torch.abs,
    turned=False,
    order=(0, 1),
    over=(1, 3),
    size=lambda p: p,
):
    """A distance with one thing changed."""

    def program(weights, grid, patch_size):
        rows, columns = reversed(grid) if turned else grid
        looks = cut(weights, rows * columns)
        looks = looks / looks.sum(dim=rescale, keepdim=True) if rescale else looks
        index = torch.arange(rows * columns)
        places = (index // columns, index % columns)
        found = []
        for k in order:
            far = distance((places[k][:, None] - places[k]) * size(patch_size))
            found.append((looks * far).sum(dim=-1).mean(dim=over))
        return torch.stack(found, dim=-1)

    return program


FAR = Task(
    number="6.10",
    title="How far down, how far across",
    text="The mean attention distance mixes two directions. Write one that keeps them apart: "
    "how many pixels away the looked-at patches lie vertically, and how many horizontally, "
    "without sign, weighted by the look and averaged over queries and images, "
    "`(layer, head, 2)`. A class token stands first, and is left out as in the "
    "chapter. Patches are numbered row by row.",
    minutes=15,
    trains="from the number of a patch to its place",
    section="How far, and how evenly?",
    hints=(
        "In a grid of 3 rows and 5 columns, where is patch 7? What do you divide by?",
        "The distance of two patches along one axis is the amount of a difference, times the "
        "side of a patch.",
        "Leave out the class token's row *and* column, rescale, weigh, add over the keys, then "
        "average over queries and images.",
    ),
    solution=distances_apart,
    cases=fields,
    run=numbers,
    slips={
        "the looks are not rescaled once the class token is left out: too short.": apart(
            rescale=None
        ),
        "rescaled by columns; the *row* of a token is to sum to one.": apart(rescale=-2),
        "the last token is left out; the class token is the first.": apart(
            lambda w, n: w[..., :n, :n]
        ),
        "left and right come first: down, then across.": apart(order=(1, 0)),
        "rows and columns of the grid have changed places: divide by the number of columns.": (
            apart(turned=True)
        ),
        "without the amount, left and right cancel each other.": apart(distance=lambda d: d),
        "distances are squared; the mean is of distances.": apart(distance=torch.square),
        "that is in patches; times the side of a patch it is in pixels.": apart(
            size=lambda p: 1
        ),
        "the images are averaged, the queries are not: (layer, head, 2) is asked for.": apart(
            over=1
        ),
        "averaged over keys instead of added: a row of weights sums to one already.": apart(
            lambda w, n: w[..., -n:, -n:] / w[..., -n:, -n:].sum(-1, keepdim=True) / n,
            rescale=None,
        ),
    },
    why="Heads that look along a row or a column show here, and not in one distance.",
)

# 6.11 and 6.12 Scores -----------------------------------------------------------------------


def pointing(maps, boxes, grid, patch_size):
    """Is the brightest patch's centre in the box? (image, patch), (image, 4) → (image,)."""
    rows, columns = torch.meshgrid(*map(torch.arange, grid), indexing="ij")
    y, x = ((place.flatten() + 0.5) * patch_size for place in (rows, columns))
    top, left, bottom, right = boxes.T[:, :, None]
    inside = (top <= y) & (y < bottom) & (left <= x) & (x < right)
    brightest = maps == maps.amax(dim=1, keepdim=True)
    return (brightest & inside).sum(dim=1) / brightest.sum(dim=1)


EDGES = torch.tensor([[0, 0, 2, 6], [2, 1, 6, 8], [0, 2, 6, 5], [3, 4, 12, 20], [1, 6, 7, 18]])


def boxed():
    one = torch.tensor([[0, 2, 2, 4]])
    yield (
        "two patches, the second in the box",
        (torch.tensor([[1.0, 2.0]]).double(), one, (1, 2), 2),
    )
    last = torch.tensor([[0.0, 0, 3, 0, 1, 0]]).double()
    yield "2 × 3 patches", (last, torch.tensor([[0, 4, 2, 6]]), (2, 3), 2)
    two = torch.tensor([[3.0, 0, 0, 0, 0, 3]]).double()
    yield (
        "two brightest patches, one in the box",
        (two, torch.tensor([[2, 4, 4, 6]]), (2, 3), 2),
    )
    found = pencil(5, 15).clamp(max=1.5)
    yield "5 images, boxes across patches", (found, EDGES, (3, 5), 4)


def pointed(
    centre=0.5, columns=lambda grid: grid[1], sides=(0, 1, 2, 3), ties="share", edge="open"
):
    """A pointing game with one thing changed."""

    def program(maps, boxes, grid, patch_size):
        index = torch.arange(maps.shape[1])
        y = (index // columns(grid) + centre) * patch_size
        x = (index % columns(grid) + centre) * patch_size
        top, left, bottom, right = (boxes[:, k : k + 1] for k in sides)
        inside = (top <= y) & (y < bottom) & (left <= x) & (x < right)
        if edge == "closed":
            inside = (top <= y) & (y <= bottom) & (left <= x) & (x <= right)
        brightest = maps == maps.amax(dim=1, keepdim=True)
        if ties == "first":
            brightest = F.one_hot(maps.argmax(dim=1), maps.shape[1]).bool()
        hits = (brightest & inside).sum(dim=1) / brightest.sum(dim=1)
        return {"any": (hits > 0).double(), "all": (hits == 1).double()}.get(ties, hits)

    return program


def darkest(maps, boxes, grid, patch_size):
    return pointing(-maps, boxes, grid, patch_size)


def mean_hit(maps, boxes, grid, patch_size):
    return pointing(maps, boxes, grid, patch_size).mean()


POINTING = Task(
    number="6.11",
    title="Pointing with any box",
    text="The chapter's boxes lie on the grid of patches. Write the pointing game for boxes "
    "that do not: a hit is a brightest patch whose *centre* lies in the box. Of several "
    "equally bright ones each counts by its share. Boxes are (top, left, bottom, right) in "
    "pixels; a centre on the top or left edge is in, on the bottom or right edge it is out.",
    minutes=15,
    trains="pixels, patches, and the order of four numbers",
    section="Three scores",
    hints=(
        "In a grid of 2 × 3 patches of 2 × 2 pixels, where is the centre of patch 5?",
        "Centres first, (patch,) for y and x; then a table (image, patch) of which lie in the "
        "box; then the brightest.",
        "`maps == maps.amax(dim=1, keepdim=True)` is True for *all* brightest patches.",
    ),
    solution=pointing,
    cases=boxed,
    run=numbers,
    slips={
        "of several brightest patches only the first counts.": pointed(ties="first"),
        "one brightest patch in the box counts as a whole hit; each counts by its share.": (
            pointed(ties="any")
        ),
        "a hit only if all brightest patches lie in it; each counts by its share.": pointed(
            ties="all"
        ),
        "the patch's upper left corner is asked, not its centre.": pointed(centre=0.0),
        "the lower right corner is asked, not the centre.": pointed(centre=1.0),
        "the row of a patch is its number divided by the *columns* of the grid.": pointed(
            columns=lambda grid: grid[0]
        ),
        "the box is read as left, top, right, bottom.": pointed(sides=(1, 0, 3, 2)),
        "a centre on the bottom or right edge is out.": pointed(edge="closed"),
        "the darkest patch is asked.": darkest,
        "the mean over the images; a score for each is asked for.": mean_hit,
    },
    why="A score for each image, not their mean: without it no interval can be drawn.",
    part="pointing",
)


def energy(maps, boxes, grid, patch_size):
    """The share of a map in the box; a patch cut by its edge counts by area."""
    top, left, bottom, right = boxes.T[:, :, None]
    y, x = (torch.arange(count) * patch_size for count in grid)
    tall = (torch.minimum(y + patch_size, bottom) - torch.maximum(y, top)).clamp(min=0)
    wide = (torch.minimum(x + patch_size, right) - torch.maximum(x, left)).clamp(min=0)
    inside = (tall[:, :, None] * wide[:, None, :]).flatten(1) / patch_size**2
    return (maps * inside).sum(dim=1) / maps.sum(dim=1)


def lit():
    half = torch.tensor([[0, 1, 2, 4]])
    yield (
        "two patches, one and a half in the box",
        (torch.tensor([[1.0, 2]]).double(), half, (1, 2), 2),
    )
    yield "2 × 3 patches", (pencil(1, 6) + 2.5, torch.tensor([[1, 0, 4, 5]]), (2, 3), 2)
    yield "5 images", (pencil(5, 15) + 2.5, EDGES, (3, 5), 4)


def lighted(
    overlap=lambda low, high: (high - low).clamp(min=0),
    round_=lambda share: share,
    sides=(0, 1, 2, 3),
    total=lambda maps, inside: maps.sum(dim=1),
    columns=lambda grid: grid[1],
    area=lambda side: side**2,
):
    """A share with one thing changed."""

    def program(maps, boxes, grid, patch_size):
        index = torch.arange(maps.shape[1])
        y, x = index // columns(grid) * patch_size, index % columns(grid) * patch_size
        top, left, bottom, right = (boxes[:, k : k + 1] for k in sides)
        tall = overlap(torch.maximum(y, top), torch.minimum(y + patch_size, bottom))
        wide = overlap(torch.maximum(x, left), torch.minimum(x + patch_size, right))
        inside = round_(tall * wide / area(patch_size))
        return (maps * inside).sum(dim=1) / total(maps, inside)

    return program


ENERGY = Task(
    number="6.12",
    title="The share in any box",
    text="Write the chapter's *share* for boxes that cut through patches: each patch counts by "
    "that part of its area that lies in the box. Maps are positive, (image, patch); boxes are "
    "(top, left, bottom, right) in pixels, (image, 4); one share for each image comes back.",
    minutes=20,
    trains="the overlap of two intervals, which must not be negative",
    section="Three scores",
    hints=(
        "How many pixels of the interval from 4 to 8 lie between 6 and 20? And between 10 and "
        "20?",
        "An overlap is the smaller end minus the larger start, and 0 if that is negative. Area "
        "is height times width.",
        "Heights (image, row) and widths (image, column), a product over both, flattened, "
        "divided by the area of a patch. Then weigh the map with it.",
    ),
    solution=energy,
    cases=lit,
    run=numbers,
    slips={
        "two negative overlaps make a positive area: a negative overlap is none.": lighted(
            overlap=lambda low, high: high - low
        ),
        "a patch that the box touches counts whole; it counts by area.": lighted(
            round_=lambda share: (share > 0).double()
        ),
        "only patches that lie in the box entirely count; others count by area.": lighted(
            round_=lambda share: (share == 1).double()
        ),
        "a patch counts whole if most of it lies in the box; it counts by area.": lighted(
            round_=lambda share: (share >= 0.5).double()
        ),
        "a patch counts by its pixels in the box: divide by the pixels of a patch.": lighted(
            area=lambda side: 1
        ),
        "the sum in the box, not its share: divide by the map's total.": lighted(
            total=lambda maps, inside: 1.0
        ),
        "divided by the area in the box: that is a mean brightness, not a share.": lighted(
            total=lambda maps, inside: inside.sum(dim=1)
        ),
        "divided by what lies outside; the whole map is the total.": lighted(
            total=lambda maps, inside: (maps * (1 - inside)).sum(dim=1)
        ),
        "the box is read as left, top, right, bottom.": lighted(sides=(1, 0, 3, 2)),
        "the row of a patch is its number divided by the *columns* of the grid.": lighted(
            columns=lambda grid: grid[0]
        ),
    },
    why="The product of two overlaps is an area only where both are positive: the fault shows "
    "in patches that lie diagonally off the box, and nowhere else.",
    part="energy",
)

# 6.13 Insertion -----------------------------------------------------------------------------


def insertion_area(score, patches, fill, found):
    """Area under the score while patches come back, the brightest of the map first.

    Args:
        score: from patches (patch, width) to a probability.
        patches, fill: (patch, width), the picture and what stands in for it.
        found: the map, (patch,); no two values are equal.
    """
    shown, curve = fill.clone(), [score(fill)]
    for patch in found.argsort(descending=True):
        shown[patch] = patches[patch]
        curve.append(score(shown))
    inner = sum(curve[1:-1], start=(curve[0] + curve[-1]) / 2)
    return inner / len(patches)


def covers():
    def case(n, width, *ranks):
        found = torch.tensor(ranks).double() / 4
        return pencil(n, width), pencil(n, width, seed=3) / 4, found, pencil(n, seed=9)

    yield "two patches", case(2, 3, 0, 1)
    yield "three patches", case(3, 2, 0, 2, 1)
    yield "five patches", case(5, 3, 3, 0, 4, 1, 2)
    yield "seven patches", case(7, 2, 4, 6, 0, 5, 2, 1, 3)


def scored(answer, patches, fill, found, weight):
    """The area for a model of one layer."""

    def score(shown):
        if shown.shape != patches.shape:
            raise ValueError(f"score is asked about patches of shape {tuple(shown.shape)}")
        return (shown.sum(dim=-1) @ weight).sigmoid()

    area = numbers(answer, score, patches, fill, found)
    return None if area is None else float(area)


def curve_of(order=lambda m: m.argsort(descending=True), area=None, keep=True):
    """An insertion with one thing changed."""

    def program(score, patches, fill, found):
        rank, points = order(found), []
        for step in range(len(patches) + 1):
            shown = fill.clone()
            which = rank[:step] if keep else rank[max(step - 1, 0) : step]
            shown[which] = patches[which]
            points.append(score(shown))
        return (area or torch.trapezoid)(torch.stack(points)) / (1 if area else len(patches))

    return program


INSERTION = Task(
    number="6.13",
    title="The area of an insertion",
    text="Write insertion for one picture. Start from the `fill`. Put the picture's patches "
    "back one by one, the brightest of the map first, and ask `score` before the first and "
    "after each; it gives a number. Give back the area under these points, joined by straight "
    "lines (the trapezoid rule), the whole length counted as 1.",
    minutes=20,
    trains="fence posts, and what a rank is",
    section="Take the patches away",
    hints=(
        "With three patches, how many times is `score` asked? How many straight pieces lie "
        "between the points?",
        "`found.argsort(descending=True)` is the *order*: which patch comes first, second, …",
        "Each piece has the area of the mean of its two ends; divide by the number of pieces. "
        "Work on a copy of the fill.",
    ),
    solution=insertion_area,
    cases=covers,
    run=scored,
    slips={
        "the darkest patch comes first, or the picture is taken apart (deletion): these two "
        "areas are equal.": curve_of(lambda m: m.argsort()),
        "places are taken for an order: argsort once gives who comes first, twice gives "
        "each patch's place.": curve_of(lambda m: m.argsort(descending=True).argsort()),
        "the patches come in the order of their numbers: the map is not used.": curve_of(
            lambda m: torch.arange(len(m))
        ),
        "each patch is taken away again before the next comes; they add up.": curve_of(
            keep=False
        ),
        "the mean of all points: the two ends count half, joined by straight lines.": curve_of(
            area=torch.mean
        ),
        "the points are added: the whole length counts as 1.": curve_of(area=torch.sum),
        "every piece has the height of its left end: steps, not straight lines.": curve_of(
            area=lambda points: points[:-1].mean()
        ),
        "every piece has the height of its right end: the first point is missing.": curve_of(
            area=lambda points: points[1:].mean()
        ),
        "the area is not divided by the number of pieces.": curve_of(area=torch.trapezoid),
        "divided by the number of points; there is one piece less.": curve_of(
            area=lambda points: torch.trapezoid(points) / len(points)
        ),
    },
    why="The first point belongs to no map, and the last one to all: maps differ only on the "
    "way between.",
)

# 6.14 A planted fault -----------------------------------------------------------------------


def rank_correlation(one, other):
    """Both (image, patch), without equals in an image → (image,), 1 for the same order."""
    ranks = [m.argsort(dim=1).argsort(dim=1).double() for m in (one, other)]
    centred = [r - r.mean(dim=1, keepdim=True) for r in ranks]
    product = (centred[0] * centred[1]).sum(dim=1)
    return product / (centred[0].norm(dim=1) * centred[1].norm(dim=1))


def orders():
    def maps(*rows):
        images = torch.arange(len(rows))[:, None] / 4  # no equals between images either
        return (torch.tensor(rows) + images).double() ** 2 / 4

    yield "three patches", (maps([2, 0, 1]), maps([0, 1, 2]))
    yield "five patches", (maps([3, 0, 4, 1, 2]), maps([1, 4, 0, 2, 3]))
    ours, theirs = (
        maps([4, 6, 0, 5, 2, 1, 3], [0, 1, 3, 2, 6, 4, 5], [6, 0, 1, 2, 3, 4, 5]),
        maps([1, 5, 2, 6, 0, 3, 4], [2, 3, 0, 1, 4, 6, 5], [5, 4, 3, 6, 0, 2, 1]),
    )
    yield "3 images of seven patches", (ours, theirs)


def correlated(
    ranks=(lambda m: m.argsort(1).argsort(1), lambda m: m.argsort(1).argsort(1)),
    centre=True,
    scale=True,
):
    """A correlation with one thing changed."""

    def program(one, other):
        parts = [rank(m).double() for rank, m in zip(ranks, (one, other), strict=True)]
        parts = [r - r.mean(dim=1, keepdim=True) * centre for r in parts]
        product = (parts[0] * parts[1]).sum(dim=1)
        return product / (parts[0].norm(dim=1) * parts[1].norm(dim=1)) if scale else product

    return program


def order_of(maps):
    return maps.argsort(dim=1)


def rank_of(maps):
    return maps.argsort(dim=1).argsort(dim=1)


def over_images(maps):
    return maps.argsort(dim=0).argsort(dim=0)


RANKS = Task(
    number="6.14",
    title="Rank correlation: find the fault",
    text="""This program should number the patches of each map from darkest to brightest and \
correlate the numbers. Of two equal maps it gives 1, of two random ones about 0, and yet it is \
wrong. Put it right. (No two patches of a map are equally bright.)

```python
def rank_correlation(one, other):
    ranks = [m.argsort(dim=1).double() for m in (one, other)]
    centred = [r - r.mean(dim=1, keepdim=True) for r in ranks]
    product = (centred[0] * centred[1]).sum(dim=1)
    return product / (centred[0].norm(dim=1) * centred[1].norm(dim=1))
```""",
    minutes=10,
    trains="doubting a number that looks right",
    section="Does the look matter to the answer?",
    hints=(
        "Which numbers should the patches of the map (9, 1, 4) get? What does `argsort` give?",
        "`argsort` says which patch comes first, second, third. You need the place of patch 0, "
        "of patch 1, …",
        "The place of each patch is the inverse of the order, and sorting an order inverts it.",
    ),
    solution=rank_correlation,
    cases=orders,
    run=numbers,
    slips={
        "an order is no rank: argsort gives which patch comes first, not patch 0's place.": (
            correlated((order_of, order_of))
        ),
        "one of the maps is ranked, the other still in order: both need ranks.": correlated(
            (rank_of, order_of)
        ),
        "the second map is ranked, the first is still in order: both need ranks.": correlated(
            (order_of, rank_of)
        ),
        "the values are correlated; their ranks are asked for.": correlated(
            (lambda m: m, lambda m: m)
        ),
        "the ranks are not centred: that is a cosine.": correlated(centre=False),
        "the product is not divided by the lengths.": correlated(scale=False),
        "the two maps are ranked in opposite directions: the sign is turned.": correlated(
            (rank_of, lambda m: rank_of(-m))
        ),
        "ranked over the images, not over the patches of each.": correlated(
            (over_images, over_images)
        ),
    },
    why="Equal maps have equal orders, so the first test anyone tries cannot show this fault. "
    "Test with maps whose answer you know and is not 1.",
)

# 6.15 Cutting -------------------------------------------------------------------------------


def cut_weights(scores, who, whom):
    """Scores (image, head, query, key) → weights, without the looks of ``who`` at ``whom``.

    Both are (image, token), True for the tokens that are meant; a look at oneself stays.
    """
    itself = torch.eye(who.shape[1], dtype=torch.bool)
    cut = who[:, :, None] & whom[:, None, :] & ~itself
    return scores.masked_fill(cut[:, None], -torch.inf).softmax(dim=-1)


def chosen():
    def picked(*rows):
        return torch.tensor(rows).bool()

    yield (
        "token 0 may not look at token 1",
        (pencil(1, 1, 2, 2), picked([1, 0]), picked([0, 1])),
    )
    yield (
        "0 and 1 may not look at 1 and 2",
        (
            pencil(1, 1, 3, 3),
            picked([1, 1, 0]),
            picked([0, 1, 1]),
        ),
    )
    yield (
        "2 images, 3 heads",
        (
            pencil(2, 3, 5, 5),
            picked([1, 1, 0, 0, 1], [0, 0, 1, 0, 1]),
            picked([1, 0, 1, 1, 1], [1, 1, 1, 0, 1]),
        ),
    )


def knocked(
    which=lambda who, whom, itself: who[:, :, None] & whom[:, None, :] & ~itself,
    apply=lambda scores, cut: scores.masked_fill(cut, -torch.inf).softmax(dim=-1),
):
    """A cut with one thing changed."""

    def program(scores, who, whom):
        itself = torch.eye(who.shape[1], dtype=torch.bool)
        return apply(scores, which(who, whom, itself)[:, None])

    return program


CUT = Task(
    number="6.15",
    title="Cut a look",
    text="Write the heart of a knockout: from scores, divided by √d already, the attention "
    "weights of one layer, when the tokens `who` may not look at the tokens `whom`. The looks "
    "that stay share the weight. A look at oneself always stays.",
    minutes=15,
    trains="a mask from two sets of tokens",
    section="What does a look do?",
    hints=(
        "Which axis of the table are those who look, and which are those looked at?",
        "A table from two rows of True and False: one gets an axis at the end, the other "
        "before it; `&` does the rest.",
        "Take the diagonal out of the table, give it an axis for heads, and set the scores "
        "there to minus infinity *before* the softmax.",
    ),
    solution=cut_weights,
    cases=chosen,
    run=numbers,
    slips={
        "`who` and `whom` have changed places: a row looks, a column is looked at.": knocked(
            lambda who, whom, itself: whom[:, :, None] & who[:, None, :] & ~itself
        ),
        "a token may not look at itself any more: the diagonal stays.": knocked(
            lambda who, whom, itself: who[:, :, None] & whom[:, None, :]
        ),
        "cut where either is meant; only looks of `who` *at* `whom` are.": knocked(
            lambda who, whom, itself: (who[:, :, None] | whom[:, None, :]) & ~itself
        ),
        "nobody looks at `whom` any more; only `who` may not.": knocked(
            lambda who, whom, itself: whom[:, None, :] & ~itself
        ),
        "`who` looks at nobody but itself any more; only looks at `whom` are cut.": knocked(
            lambda who, whom, itself: who[:, :, None] & ~itself
        ),
        "what should be cut is all that stays: True means cut.": knocked(
            apply=lambda s, cut: s.masked_fill(
                ~cut & ~torch.eye(s.shape[-1], dtype=torch.bool), -torch.inf
            ).softmax(dim=-1)
        ),
        "taken away after the softmax: the looks that stay do not share the weight.": knocked(
            apply=lambda s, cut: s.softmax(dim=-1).masked_fill(cut, 0)
        ),
        "a score of 0 is still a look, e⁰ = 1.": knocked(
            apply=lambda s, cut: s.masked_fill(cut, 0).softmax(dim=-1)
        ),
        "each column sums to one instead of each row: softmax over the wrong axis?": knocked(
            apply=lambda s, cut: s.masked_fill(cut, -torch.inf).softmax(dim=-2)
        ),
        "nothing is cut.": knocked(apply=lambda s, cut: s.softmax(dim=-1)),
    },
    why="The shares that stay grow, so a cut does two things at once. Set to zero after the "
    "softmax it would do one, and the row would no longer sum to one: a mixture never met "
    "in training.",
)

# 6.16 Enlarging -----------------------------------------------------------------------------


def enlarge(found, grid, patch_size):
    """A map (image, patch), hard-edged, as large as its picture: (image, height, width)."""
    table = found.reshape(-1, *grid)
    return table.repeat_interleave(patch_size, dim=1).repeat_interleave(patch_size, dim=2)


def small_maps():
    yield "two patches of 2 × 2 pixels", (pencil(1, 2), (1, 2), 2)
    yield "2 × 3 patches", (pencil(1, 6), (2, 3), 2)
    yield "2 images of 3 × 5 patches", (pencil(2, 15), (3, 5), 4)


def tiled(found, grid, patch_size):
    return found.reshape(-1, *grid).repeat(1, patch_size, patch_size)


def smooth(found, grid, patch_size):
    table = found.reshape(-1, 1, *grid)
    return F.interpolate(table, scale_factor=patch_size, mode="bilinear")[:, 0]


def smooth_to_the_corners(found, grid, patch_size):
    size = [side * patch_size for side in grid]
    table = found.reshape(-1, 1, *grid)
    return F.interpolate(table, size=size, mode="bilinear", align_corners=True)[:, 0]


def column_by_column(found, grid, patch_size):
    table = found.reshape(-1, grid[1], grid[0]).mT.reshape(len(found), -1)
    return enlarge(table, grid, patch_size)


def turned_grid(found, grid, patch_size):
    return enlarge(found, (grid[1], grid[0]), patch_size)


def turned_map(found, grid, patch_size):
    return enlarge(found, grid, patch_size).mT


def shared_out(found, grid, patch_size):
    return enlarge(found, grid, patch_size) / patch_size**2


def one_pixel(found, grid, patch_size):
    whole = enlarge(found, grid, patch_size)
    corner = torch.zeros_like(whole)
    corner[:, ::patch_size, ::patch_size] = whole[:, ::patch_size, ::patch_size]
    return corner


def rows_only(found, grid, patch_size):
    return found.reshape(-1, *grid).repeat_interleave(patch_size, dim=1)


ENLARGE = Task(
    number="6.16",
    title="Enlarge without lying",
    text="To lay a map over its picture, it must be as large. Write it with hard edges: every "
    "pixel has the value of its patch, and no other value appears.",
    minutes=5,
    trains="from a row of patches to a picture",
    section="The row that decides",
    hints=(
        "How many rows and columns has the result? How often does each value stand in it?",
        "Patches are numbered row by row: a reshape gives (image, row, column).",
        "`repeat` lays whole copies side by side; `repeat_interleave` repeats each value "
        "where it stands.",
    ),
    solution=enlarge,
    cases=small_maps,
    run=numbers,
    slips={
        "the map is laid side by side like tiles; each *value* is to be repeated.": tiled,
        "values that are none of the map's appear: it is smoothed.": smooth,
        "it is smoothed, with the outermost values in the corners.": smooth_to_the_corners,
        "patches are read column by column; they are numbered row by row.": column_by_column,
        "the grid is (rows, columns), and you take it the other way round.": turned_grid,
        "the picture lies on its side: height first, then width.": turned_map,
        "each value is shared out among its pixels; every pixel has all of it.": shared_out,
        "only one pixel of each patch has its value.": one_pixel,
        "it has grown in height only.": rows_only,
    },
    why="A smoothed map shows places that the model has never told apart.",
)

# Questions ----------------------------------------------------------------------------------

STAYS = Question(
    number="6.17",
    title="What stays of a token",
    text="A model has 12 layers and 197 tokens, and every token looks at all 197 alike, in "
    "every layer. Rollout, with the residual: what stands on the diagonal? Two significant "
    "digits are enough.",
    minutes=10,
    trains="reading a product of matrices as paths",
    section="Rollout",
    hints=(
        "Write the layer's matrix as one half of I and one half of J, where every number of J "
        "is 1/197. What is J times J?",
        "Of the identity, what is left after 12 factors? All the rest is J.",
        "Rows sum to one: if the identity holds a share s, then J holds 1 − s.",
    ),
    answer=0.5**12 + (1 - 0.5**12) / 197,
    slips={
        "That is what stays through the residual alone; some comes back through looks.": 0.5
        ** 12,
        "That is an even share; a little stayed in place, through all residuals.": 1 / 197,
        "That counts the path that stays in place all the time; others return.": (
            (0.5 + 0.5 / 197) ** 12
        ),
        "That is one layer; there are 12.": 0.5 + 0.5 / 197,
        "That is what has moved at least once; some of it came back.": 1 - 0.5**12,
    },
    solution="layer = (torch.eye(197) + torch.full((197, 197), 1 / 197)) / 2\n"
    "torch.linalg.matrix_power(layer.double(), 12)[0, 0].item()",
    within=0.01,
    why="After 12 layers a token has forgotten where it was: by rollout one part in 4,096 "
    "never left, and the rest of the diagonal, about 1/197, has come back by looks. A real "
    "model need not forget, since its branches may be quiet.",
)

WIDE = Question(
    number="6.18",
    title="As wide as how many tokens?",
    text="A row of attention gives 1/2 to one token and 1/8 to each of four others. As wide as "
    "an even look at how many tokens is it, by the chapter's measure? The number of all tokens "
    "drops out.",
    minutes=5,
    trains="what an entropy counts",
    section="How far, and how evenly?",
    hints=(
        "With N tokens and a normalised entropy h, the chapter says N to the power of h.",
        "Which base the logarithm has does not matter, as long as it is the same twice.",
        "Entropy in bits: −log₂ of 1/2 is 1, of 1/8 it is 3. Take the mean, weighed.",
    ),
    answer=4,
    slips={
        "That many get something, but not alike.": 5,
        "That is the entropy in bits; take two to its power.": 2,
        "That is the normalised entropy; five to its power is the width.": 2 / math.log2(5),
        "An entropy in bits goes with a power of two, not of e.": math.exp(2),
        "That is one over the sum of squares, another measure of width.": 3.2,
        "That is the entropy with natural logarithms; take e to its power.": 2 * math.log(2),
    },
    solution="row = torch.tensor([1 / 2, 1 / 8, 1 / 8, 1 / 8, 1 / 8])\n"
    "(-(row * row.log()).sum()).exp().item()",
    within=0.005,
    why="The number of tokens has dropped out: N to the power of h is e to the power of the "
    "entropy. So widths can be compared between models of different N.",
)

SQUARED = Question(
    number="6.19",
    title="Square it and measure",
    text="A map of 8 × 8 patches has the values 1, 2, 3, …, 64, row by row. The box holds "
    "the two lowest rows. The map's share in the box is 0.435. Square every value: what is the "
    "share then, as a number from 0 to 1, with three digits behind the point?",
    minutes=5,
    trains="what a score rewards",
    section="Three scores",
    hints=(
        "Which values lie in the box? There are 16 of them.",
        "`torch.arange(1, 65)`, squared; the last 16 of it.",
        "Their sum, divided by the sum of all.",
    ),
    answer=51416 / 89440,
    slips={
        "That is the share before squaring.": 904 / 2080,
        "Square the values, not the share.": (904 / 2080) ** 2,
        "That is the box's share of the area: the share of a flat map.": 0.25,
        "That is one of the two rows.": sum(k**2 for k in range(57, 65)) / 89440,
        "That is squared twice.": sum(k**4 for k in range(49, 65))
        / sum(k**4 for k in range(1, 65)),
        "Divided by what lies outside; the whole map is the total.": 51416 / (89440 - 51416),
    },
    solution="found = torch.arange(1.0, 65.0) ** 2\n(found[-16:].sum() / found.sum()).item()",
    within=0.005,
    why="No patch has changed its place, and the share has grown by 14 points: it rewards "
    "contrast. Compare places within a map with it, never two methods.",
)

TASKS = (
    ROW,
    ROLLOUT,
    RELEVANCE,
    FAR,
    POINTING,
    ENERGY,
    INSERTION,
    RANKS,
    CUT,
    ENLARGE,
    STAYS,
    WIDE,
    SQUARED,
)
