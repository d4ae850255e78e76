"""Tasks of chapter 3: attention, masks, heads."""

import torch
from einops import rearrange
from torch import nn

from vitbook.exercises.task import Question, Task, pencil

# 3.5 Attention ------------------------------------------------------------------------------


def attention(q, k, v):
    """Scaled dot-product attention, the paper's equations 6 and 7.

    (…, query, d), (…, key, d), (…, key, width) → output (…, query, width), and the weights
    (…, query, key).
    """
    scores = q @ k.mT / q.shape[-1] ** 0.5
    weights = scores.softmax(dim=-1)
    return weights @ v, weights


def looks():
    yield "one query and two keys", (pencil(1, 3), pencil(2, 3), pencil(2, 5))
    yield "two queries and three keys", (pencil(2, 5), pencil(3, 5), pencil(3, 7))
    yield "as many queries as keys", (pencil(3, 5), pencil(3, 5, seed=1), pencil(3, 5, seed=2))
    batch = (pencil(2, 3, 5, 7), pencil(2, 3, 11, 7), pencil(2, 3, 11, 13))
    yield "a batch of 2, and 3 heads", batch


def scaled(scale=None, dim=-1, order="q k"):
    """An attention with one thing changed."""

    def program(q, k, v):
        scores = q @ k.mT if order == "q k" else k @ q.mT
        scores = scores / (q.shape[-1] ** 0.5 if scale is None else scale(q, k, v))
        weights = scores.softmax(dim)
        return weights @ v, weights

    return program


def after_softmax(q, k, v):
    weights = (q @ k.mT).softmax(dim=-1) / q.shape[-1] ** 0.5
    return weights @ v, weights


def scores_for_weights(q, k, v):
    scores = q @ k.mT / q.shape[-1] ** 0.5
    return scores @ v, scores


def keys_for_values(q, k, v):
    output, weights = attention(q, k, v)
    return weights @ k, weights


def turned_around(q, k, v):
    return attention(q, k, v)[::-1]


ATTENTION = Task(
    number="3.5",
    title="Attention",
    text="Write the whole of attention in three lines: scores, weights, output. Give back the "
    "output *and* the weights. Any number of axes may stand in front of tokens and width.",
    minutes=10,
    trains="the formula this book is about, by heart",
    section="All queries: loops, then matrices",
    hints=(
        "Which axis of `q` and which of `k` must meet in the product, so that every query has "
        "one number for every key?",
        "`k.mT` swaps the last two axes and leaves all others alone.",
        "Scores by √d *before* the softmax; the softmax runs over the keys, the last axis.",
    ),
    solution=attention,
    cases=looks,
    slips={
        "each column sums to one instead of each row: softmax over the wrong axis?": scaled(
            dim=-2
        ),
        "the scores are not divided: √d is missing.": scaled(lambda q, k, v: 1),
        "divided by d instead of its root.": scaled(lambda q, k, v: q.shape[-1]),
        "divided by the root of the number of keys; d is the width of a key.": scaled(
            lambda q, k, v: k.shape[-2] ** 0.5
        ),
        "divided by the root of the values' width; d is the width of a key.": scaled(
            lambda q, k, v: v.shape[-1] ** 0.5
        ),
        "divided after the softmax instead of before it: the weights no longer sum to one.": (
            after_softmax
        ),
        "there is no softmax: scores are no weights yet.": scores_for_weights,
        "the keys are averaged; what a query collects are the values.": keys_for_values,
        "output and weights have changed places.": turned_around,
        "the keys ask and the queries answer: q and k have changed places.": scaled(
            order="k q"
        ),
    },
    why="Score, scale, softmax, collect. Dividing by √d keeps the scores at a size at which "
    "the softmax still listens to all of them.",
    shortcuts=(
        "torch.nn.functional.scaled_dot_product_attention",
        "vitbook.attention.attention",
    ),
    part="attention",
)

# 3.6 A mask ---------------------------------------------------------------------------------


def masks():
    some = torch.tensor([[True, False, True], [True, True, True]])
    yield "one look hidden", (pencil(2, 3), some)
    yield "no look hidden", (pencil(3, 5), torch.ones(3, 5, dtype=torch.bool))
    none = torch.tensor([[False] * 5, [True, False, True, False, True], [True] * 5])
    yield "a row in which all is hidden", (pencil(3, 5), none)
    yield "a batch of 2, with one mask for all", (pencil(2, 3, 5), none)


def masked_softmax(scores, mask):
    """Weights (…, query, key); True in the mask = may be looked at."""
    hidden = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return hidden.softmax(dim=-1).masked_fill(~mask, 0.0)


def flipped(scores, mask):
    return masked_softmax(scores, ~mask)


def zeroed_scores(scores, mask):
    return scores.masked_fill(~mask, 0.0).softmax(dim=-1)


def zeroed_weights(scores, mask):
    return scores.softmax(dim=-1).masked_fill(~mask, 0.0)


def infinite(scores, mask):
    return scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)


def even(scores, mask):
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(dim=-1)


def ignored(scores, mask):
    return scores.softmax(dim=-1)


def columns(scores, mask):
    hidden = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return hidden.softmax(dim=-2).masked_fill(~mask, 0.0)


MASK = Task(
    number="3.6",
    title="A mask",
    text="Turn scores into weights where some looks are forbidden. The mask is boolean, with "
    "the last two axes of the scores and perhaps fewer in front; True means: may be looked at. "
    "A row in which all is hidden looks nowhere: zeros, not `nan`.",
    minutes=10,
    trains="what happens on both sides of a softmax",
    section="Some may not be looked at: masks",
    hints=(
        "What must a score be, so that the softmax turns it into nothing?",
        "A score of 0 still counts, since e⁰ = 1; minus infinity makes `nan` where nothing "
        "else is left.",
        "`masked_fill` with the smallest number of the dtype, then the softmax, then once "
        "more a `masked_fill` with 0.",
    ),
    solution=masked_softmax,
    cases=masks,
    slips={
        "True means *may be looked at* here, and you hide it.": flipped,
        "a hidden score of 0 is still a score, e⁰ = 1: it must be far below all others.": (
            zeroed_scores
        ),
        "what is hidden after the softmax is missing from the sum: the rows no longer sum to "
        "one. Hide the scores.": zeroed_weights,
        "a row in which all is hidden comes out as nan: -inf minus -inf.": infinite,
        "a row in which all is hidden looks everywhere alike; it should look nowhere.": even,
        "the mask changes nothing.": ignored,
        "each column sums to one instead of each row: softmax over the wrong axis?": columns,
    },
    why="Hidden before the softmax, so that the others share what is left; and once more after "
    "it, for rows in which nothing is left to share.",
)

# 3.7 and 3.8 Heads --------------------------------------------------------------------------


def tokens():
    yield "one head", (pencil(1, 3, 2), 1)
    yield "two heads", (pencil(1, 3, 4), 2)
    yield "as many heads as tokens", (pencil(1, 3, 15), 3)
    yield "a batch of 2, and 3 heads", (pencil(2, 5, 21), 3)


def split_heads(x, heads):
    """(batch, token, heads · d) → (batch, heads, token, d)."""
    return rearrange(x, "b n (heads d) -> b heads n d", heads=heads)


def interleaved(x, heads):
    return rearrange(x, "b n (d heads) -> b heads n d", heads=heads)


def viewed(x, heads):
    b, n, width = x.shape
    return x.reshape(b, heads, n, width // heads)


def not_moved(x, heads):
    return rearrange(x, "b n (heads d) -> b n heads d", heads=heads)


def width_first(x, heads):
    return rearrange(x, "b n (heads d) -> b heads d n", heads=heads)


def count_for_width(x, heads):
    return rearrange(x, "b n (heads d) -> b heads n d", d=heads)


SPLIT = Task(
    number="3.7",
    title="Split into heads",
    text="Cut the width of every token into `heads` parts of equal width, each of numbers that "
    "stand side by side, and put the axis of heads in front of the tokens.",
    minutes=5,
    trains="reading einops strings, and the order of axes",
    section="Several heads",
    hints=(
        "Which numbers of a token belong to the first head? They stand side by side.",
        "In an einops string, `(a b)` means: a is the slow one, b runs fastest.",
        "The last axis of `x` is `(heads d)`; `heads` moves between batch and tokens.",
    ),
    solution=split_heads,
    cases=tokens,
    slips={
        "each head gets every so many-th number; it should get a run of neighbours: "
        "heads and d swapped inside the brackets?": interleaved,
        "one reshape cuts across tokens: a head now mixes numbers of several tokens. Split the "
        "last axis first, then move the heads.": viewed,
        "the axes stand as (batch, token, heads, d): the heads still have to move before the "
        "tokens.": not_moved,
        "tokens and width have changed places.": width_first,
        "the heads are as wide as there should be heads: number and width mixed up.": (
            count_for_width
        ),
    },
    why="A head is a run of neighbouring numbers of every token. The axis of heads stands in "
    "front of the tokens, so that one matrix product serves all of them.",
    part="split_heads",
)


def parts():
    for words, (x, heads) in tokens():
        yield words, (split_heads(x, heads),)


def join_heads(x):
    """(batch, heads, token, d) → (batch, token, heads · d)."""
    return rearrange(x, "b heads n d -> b n (heads d)")


def joined_by_width(x):
    return rearrange(x, "b heads n d -> b n (d heads)")


def flattened(x):
    b, heads, n, d = x.shape
    return x.reshape(b, n, heads * d)


def averaged(x):
    return x.mean(dim=1)


def added(x):
    return x.sum(dim=1)


def stacked(x):
    return rearrange(x, "b heads n d -> b (heads n) d")


JOIN = Task(
    number="3.8",
    title="Join the heads",
    text="The way back: put the heads of a token side by side again.",
    minutes=5,
    trains="undoing a rearrangement without guessing",
    section="Several heads",
    hints=(
        "Splitting and joining must leave every number where it was: try it with "
        "`torch.arange`.",
        "A reshape alone reads memory in order; the heads stand before the tokens there.",
        "Read your string of the last task from right to left.",
    ),
    solution=join_heads,
    cases=parts,
    slips={
        "the heads are shuffled like cards; each should keep its run of numbers.": (
            joined_by_width
        ),
        "a reshape without moving the heads back mixes tokens.": flattened,
        "the heads are averaged; they stand side by side.": averaged,
        "the heads are added; they stand side by side.": added,
        "the heads are joined along the tokens instead of along the width.": stacked,
    },
    part="join_heads",
    why="Exactly the way back: splitting and joining leave every number where it was.",
)

# 3.9 A number to predict --------------------------------------------------------------------

TABLES = Question(
    number="3.9",
    title="How large are the tables?",
    text="A ViT-B/16 reads one picture of 224 × 224 pixels: 12 layers of 12 heads, and a class "
    "token before the patches. How many attention weights does it form, in all its tables?",
    minutes=5,
    trains="counting tokens, and what grows with their square",
    section="What does it cost?",
    hints=(
        "How many patches of 16 × 16 does the picture have?",
        "One table has a row and a column for every token. The class token is one.",
        "Tables: one for each head of each layer.",
    ),
    answer=12 * 12 * 197**2,
    slips={
        "The class token looks and is looked at too: 197 tokens, not 196.": 12 * 12 * 196**2,
        "That is one layer; there are 12.": 12 * 197**2,
        "Every head has a table of its own: 12 in each of the 12 layers.": 12 * 197,
        "A table has a row *and* a column for every token: 197 squared.": 12 * 12 * 197,
    },
    solution="tokens = (224 // 16) ** 2 + 1\n12 * 12 * tokens**2",
    within=0.0001,
    why="5.6 million looks at one picture, and four times the tokens would make it sixteen "
    "times as many.",
)

# 3.10 The layer -----------------------------------------------------------------------------


class MultiHeadSelfAttention(nn.Module):
    """Several attentions side by side; ``record`` is None, or a function."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads, self.record = heads, None
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x):
        """(batch, token, dim) → the same; ``record`` gets (batch, head, query, key)."""
        split = "b n (three heads d) -> three b heads n d"
        q, k, v = rearrange(self.qkv(x), split, three=3, heads=self.heads)
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)
        if self.record is not None:
            self.record(weights)
        return self.out(rearrange(weights @ v, "b heads n d -> b n (heads d)"))


def layers():
    yield "one head", (pencil(1, 2, 3), 1)
    yield "two heads of width 3", (pencil(1, 5, 6), 2)
    yield "a batch of 2, and 3 heads of width 7", (pencil(2, 5, 21), 3)


def fill(module, like):
    """Weights of one's own for a module, in the dtype of a tensor; the same every time."""
    module = module.to(like.dtype)
    with torch.no_grad():
        for i, weight in enumerate(module.parameters()):
            weight.copy_(pencil(*weight.shape, seed=i) / weight.shape[-1] ** 0.5)
    return module


def recorded(answer, x, heads):
    """The output, and what was recorded; the output must be the same with nobody recording."""
    with torch.random.fork_rng(devices=[]):  # the weights are drawn, and then replaced
        layer = fill(answer(x.shape[-1], heads), x)
    silent, tables = layer(x), []
    if silent is None:
        return None
    layer.record = tables.append
    return silent, layer(x), tables


def layer(split="b n (three heads d) -> three b heads n d", **changes):
    """A layer with one thing changed."""
    join = changes.get("join", lambda y: rearrange(y, "b heads n d -> b n (heads d)"))
    weigh = changes.get("weigh", lambda s: s.softmax(dim=-1))
    keep = changes.get("keep", lambda weights, scores: [weights])
    after = changes.get("after", lambda self, y, x: self.out(y))
    root = changes.get("root", lambda q, x: q.shape[-1] ** 0.5)

    class Changed(MultiHeadSelfAttention):
        def forward(self, x):
            heads = changes.get("heads", self.heads)
            q, k, v = rearrange(self.qkv(x), split, three=3, heads=heads)
            scores = q @ k.mT / root(q, x)
            weights = weigh(scores)
            for table in keep(weights, scores) if self.record else ():
                self.record(table)
            return after(self, join(weights @ v), x)

    return Changed


LAYER = Task(
    number="3.10",
    title="The whole layer, with a recorder",
    text="Write `forward`: one linear layer for queries, keys and values, cut as the chapter "
    "cuts it; heads apart; attention; heads joined; the output layer. If `record` is a "
    "function, hand it the weights, all heads at once. No function of PyTorch that does the "
    "attention.",
    minutes=20,
    trains="putting the chapter's parts in their order",
    section="The final form",
    hints=(
        "What is the last axis of `self.qkv(x)` made of, from the slowest to the fastest?",
        "Split it into three, heads and d at once, and let three be the first axis: then "
        "`q, k, v =` takes it apart.",
        "Which width does each head have for its root? What must be joined before `out`?",
    ),
    solution=MultiHeadSelfAttention,
    cases=layers,
    run=recorded,
    filled=("__init__",),
    slips={
        "divided by the root of the whole width; each head has a root of its own width.": layer(
            root=lambda q, x: x.shape[-1] ** 0.5
        ),
        "the scores are not divided: √d is missing.": layer(root=lambda q, x: 1),
        "the axis is cut as (heads three d); all queries come first, then keys, then values.": (
            layer("b n (heads three d) -> three b heads n d")
        ),
        "a head gets every so many-th number instead of a run of neighbours.": layer(
            "b n (three d heads) -> three b heads n d",
            join=lambda y: rearrange(y, "b heads n d -> b n (d heads)"),
        ),
        "the heads are joined without moving them behind the tokens, which mixes tokens.": (
            layer(join=lambda y: y.reshape(len(y), y.shape[2], -1))
        ),
        "the output layer is missing.": layer(after=lambda self, y, x: y),
        "the input is added; that is the block's work, in the next chapter.": layer(
            after=lambda self, y, x: x + self.out(y)
        ),
        "there is one head only: the number of heads is not used.": layer(heads=1),
        "each column sums to one instead of each row: softmax over the wrong axis?": layer(
            weigh=lambda s: s.softmax(dim=-2)
        ),
        "the recorder gets nothing.": layer(keep=lambda weights, scores: []),
        "what is recorded are scores; the weights come after the softmax.": layer(
            keep=lambda weights, scores: [scores]
        ),
        "what is recorded is the mean of the heads; each head has a table of its own.": layer(
            keep=lambda weights, scores: [weights.mean(dim=1)]
        ),
        "the recorder is called once for every head; hand it all heads at once.": layer(
            keep=lambda weights, scores: weights.unbind(dim=1)
        ),
    },
    shortcuts=(
        "torch.nn.functional.scaled_dot_product_attention",
        "torch.nn.functional.multi_head_attention_forward",
        "vitbook.attention.attention",
        "vitbook.attention.attend",
    ),
    part="self_attention",
    why="Two linear layers are all that is learned. The recorder only listens: with it and "
    "without it, the output is the same.",
)

# 3.11 Two sequences -------------------------------------------------------------------------


def cross_attention(x, context, W_q, W_k, W_v):
    """Tokens x (…, query, D) look at context (…, key, C) → (…, query, width)."""
    q, k, v = x @ W_q, context @ W_k, context @ W_v
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1) @ v


def pairs():
    def given(n, m, width, d, out, batch=()):
        matrices = pencil(width, d), pencil(width, d, seed=1), pencil(width, out, seed=2)
        return pencil(*batch, n, width), pencil(*batch, m, width, seed=3), *matrices

    yield "one token that looks at two", given(1, 2, 3, 2, 5)
    yield "three that look at two", given(3, 2, 5, 3, 7)
    yield "as many as there are", given(3, 3, 5, 2, 5)
    yield "a batch of 2", given(5, 7, 3, 11, 2, batch=(2,))


def crossing(ask="x", offer="c", tell="c", dim=-1, scale=True, residual=False):
    def program(x, context, W_q, W_k, W_v):
        both = torch.cat([x, context], dim=-2)
        of = {"x": x, "c": context, "b": both}
        q, k, v = of[ask] @ W_q, of[offer] @ W_k, of[tell] @ W_v
        scores = q @ k.mT / (q.shape[-1] ** 0.5 if scale else 1)
        out = scores.softmax(dim) @ v
        return x @ W_v + out if residual else out

    return program


CROSS = Task(
    number="3.11",
    title="Two sequences: cross attention",
    text="In *self*-attention a sequence looks at itself. Here the tokens `x` look at those of "
    "another sequence, `context`, and at nothing else. Three matrices are given, to be "
    "multiplied from the right, `x @ w`, as in the chapter; one head. Give back the output.",
    minutes=10,
    trains="knowing who asks, who offers and who tells",
    section="Question, offer, content",
    hints=(
        "Who wants to know something here? Who has badges, who has notes?",
        "How many rows does the table have, and how many columns?",
        "Only one of the three comes from `x`.",
    ),
    solution=cross_attention,
    cases=pairs,
    slips={
        "the context asks and x answers: the roles have changed places.": crossing(
            "c", "x", "x"
        ),
        "x looks at itself: keys and values are those of the context.": crossing("x", "x", "x"),
        "the context looks at itself; the queries are those of x.": crossing("c", "c", "c"),
        "the keys come from x; who offers is the context.": crossing("x", "x", "c"),
        "the values come from x; what is collected is the context's.": crossing("x", "c", "x"),
        "x is looked at, too; it looks at the context and nothing else.": crossing(
            "x", "b", "b"
        ),
        "the scores are not divided: √d is missing.": crossing(scale=False),
        "each column sums to one instead of each row: softmax over the wrong axis?": crossing(
            dim=-2
        ),
        "something of x is added; the output is made of the context's values only.": crossing(
            residual=True
        ),
    },
    why="The output has a row for every query and is made of values only. A class token that "
    "reads finished patches is this, with one row.",
)

# 3.12 A mask on the grid --------------------------------------------------------------------


def neighbours(rows, columns, reach):
    """Mask (query, key) for patches in reading order; True = may be looked at."""
    row, column = (p.flatten() for p in torch.meshgrid(
        torch.arange(rows), torch.arange(columns), indexing="ij"
    ))  # fmt: skip
    near = [(p[:, None] - p[None]).abs() <= reach for p in (row, column)]
    return near[0] & near[1]


def grids():
    yield "2 rows of 3 patches, reach 1", (2, 3, 1)
    yield "3 rows of 5 patches, reach 1", (3, 5, 1)
    yield "5 rows of 3 patches, reach 0", (5, 3, 0)
    yield "7 rows of 5 patches, reach 3", (7, 5, 3)


def masked_by(rule, number=lambda i, rows, columns: (i // columns, i % columns)):
    """A mask by a rule (rows apart, columns apart, numbers apart, reach)."""

    def program(rows, columns, reach):
        i = torch.arange(rows * columns)
        r, c = number(i, rows, columns)
        return rule(*(x[:, None] - x[None] for x in (r, c, i)), reach)

    return program


def near(dr, dc, di, reach):
    return (dr.abs() <= reach) & (dc.abs() <= reach)


GRID = Task(
    number="3.12",
    title="Look at your neighbours only",
    text="Make the mask of an attention that sees no further than its neighbourhood, as a "
    "convolution does. Patches stand in reading order, row by row. A patch may look at those "
    "at most `reach` rows *and* at most `reach` columns away, itself included. There is no "
    "class token, so the mask is (patches, patches), boolean.",
    minutes=15,
    trains="from a place in a sequence to a place in a picture, and back",
    section="Some may not be looked at: masks",
    hints=(
        "Patch 7 of a grid with 5 columns: in which row and which column does it stand?",
        "`a[:, None] - a[None]` is a table of all differences.",
        "Two tables, one for rows and one for columns; how are they put together?",
    ),
    solution=neighbours,
    cases=grids,
    slips={
        "near in the sequence is not near in the picture: one row's end, the next one's "
        "start.": masked_by(lambda dr, dc, di, reach: di.abs() <= reach),
        "rows and columns apart are added; each of the two may be up to reach.": masked_by(
            lambda dr, dc, di, reach: dr.abs() + dc.abs() <= reach
        ),
        "it is a circle; the neighbourhood is a square.": masked_by(
            lambda dr, dc, di, reach: dr**2 + dc**2 <= reach**2
        ),
        "those exactly reach away are missing: < for ≤?": masked_by(
            lambda dr, dc, di, reach: (dr.abs() < reach) & (dc.abs() < reach)
        ),
        "it is enough here to be near in one of the two; both are asked for.": masked_by(
            lambda dr, dc, di, reach: (dr.abs() <= reach) | (dc.abs() <= reach)
        ),
        "True is where it may *not* be looked at; it should be the other way round.": masked_by(
            lambda *d: ~near(*d)
        ),
        "places are taken by the number of rows; row by row, a row is as long as there are "
        "columns.": masked_by(near, lambda i, rows, columns: (i // rows, i % rows)),
        "a patch may look at itself, too.": masked_by(
            lambda dr, dc, di, reach: near(dr, dc, di, reach) & (di != 0)
        ),
        "only earlier patches are seen; a picture has no direction.": masked_by(
            lambda dr, dc, di, reach: near(dr, dc, di, reach) & (di >= 0)
        ),
        "only rows are looked at; columns may be any number apart.": masked_by(
            lambda dr, dc, di, reach: dr.abs() <= reach
        ),
    },
    why="With such a mask attention has the reach of a convolution, and still chooses among "
    "the neighbours by what they show. A ViT has to learn to prefer them.",
)

# 3.13 Two faults ----------------------------------------------------------------------------


def several_heads(z, W, heads):
    """(batch, token, D) and one matrix (D, 3 · D) → (batch, token, D)."""
    q, k, v = (z @ W).chunk(3, dim=-1)
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)
    return (weights @ v).transpose(1, 2).reshape(z.shape)


def matrices():
    yield "two heads", (pencil(1, 3, 2), pencil(2, 6), 2)
    yield "two heads of width 3", (pencil(1, 5, 6), pencil(6, 18) / 2, 2)
    yield "a batch of 2, and 3 heads", (pencil(2, 5, 21), pencil(21, 63) / 4, 3)


def mended(root=lambda q, z: q.shape[-1] ** 0.5, join=lambda y: y.transpose(1, 2), dim=-1):
    def program(z, W, heads):
        q, k, v = (
            t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (z @ W).chunk(3, dim=-1)
        )
        weights = (q @ k.mT / root(q, z)).softmax(dim)
        return join(weights @ v).reshape(z.shape)

    return program


def whole_width(q, z):
    return z.shape[-1] ** 0.5


FAULTS = Task(
    number="3.13",
    title="Two faults that no shape betrays",
    text="""This program runs, its shapes are right, its rows sum to one, and it has two faults.
Find them, and write the program as it should be. `W` has queries, keys and values side by side,
and there is no output layer.

```python
def several_heads(z, W, heads):
    q, k, v = (z @ W).chunk(3, dim=-1)
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    weights = (q @ k.mT / z.shape[-1] ** 0.5).softmax(dim=-1)
    return (weights @ v).reshape(z.shape)
```""",
    minutes=15,
    trains="finding faults that no error names",
    section="Several heads",
    hints=(
        "Write the shape of every intermediate beside its line: z of (1, 3, 4), two heads.",
        "One fault is a number, the other an order of axes.",
        "With how many numbers does a head compare? And in which order does a reshape read?",
    ),
    solution=several_heads,
    cases=matrices,
    slips={
        "nothing has changed: both faults are still in it.": mended(whole_width, lambda y: y),
        "the heads are joined rightly now; one fault is left, in the scores.": mended(
            whole_width
        ),
        "the scores are right now; one fault is left, in how heads are joined.": mended(
            join=lambda y: y
        ),
        "the root is that of the number of heads; d is the width of one head.": mended(
            lambda q, z: q.shape[1] ** 0.5
        ),
        "the root is that of the number of tokens; d is the width of one head.": mended(
            lambda q, z: q.shape[-2] ** 0.5
        ),
        "divided by d instead of its root.": mended(lambda q, z: q.shape[-1]),
        "the heads are shuffled like cards; each should keep its run of numbers.": mended(
            join=lambda y: y.permute(0, 2, 3, 1)
        ),
        "the softmax was right; now each column sums to one.": mended(dim=-2),
    },
    why="Both faults are silent: the first makes looks too soft, the second mixes tokens. Only "
    "numbers known from elsewhere betray them, which is why this book compares with PyTorch.",
)

# 3.14 The softmax's gradient ----------------------------------------------------------------


def softmax_backward(weights, grad):
    """From the loss's gradient at the weights (…, key) to that at the scores (…, key)."""
    return weights * (grad - (weights * grad).sum(dim=-1, keepdim=True))


def slopes():
    half = torch.tensor([[0.5, 0.5]]).double()
    yield "two keys, alike", (half, torch.tensor([[1.0, 0.0]]).double())
    yield "three keys", (torch.tensor([[0.5, 0.25, 0.25]]).double(), pencil(1, 3))
    yield "3 queries, 3 keys", (pencil(3, 3).softmax(-1), pencil(3, 3, seed=1))
    yield "3 queries, 5 keys", (pencil(3, 5).softmax(-1), pencil(3, 5, seed=1))
    yield "a batch of 2", (pencil(2, 5, 7).softmax(-1), pencil(2, 5, 7, seed=1))


GRADIENT = Task(
    number="3.14",
    title="Derive: back through the softmax",
    text="A row of weights is $a = \\text{softmax}(s)$, and you know how the loss changes with "
    "the weights, $g_j = \\partial L / \\partial a_j$. Derive how it changes with the scores, "
    "$\\partial L / \\partial s_i$, on paper; then write it in terms of `weights` and `grad`. "
    "No automatic gradients. The chapter measures what this does and does not derive it: begin "
    "with $a_j = e^{s_j} / \\sum_k e^{s_k}$, and take $j = i$ and $j \\ne i$ apart.",
    minutes=30,
    trains="what flows back through a look, and when nothing does",
    section="Why divide by √d?",
    hints=(
        "If score i rises, what happens to weight i? And to all the others, whose sum with it "
        "stays one?",
        "∂aⱼ/∂sᵢ is aᵢ(1 − aᵢ) for j = i, and −aᵢaⱼ else. Add up gⱼ ∂aⱼ/∂sᵢ over j.",
        "Take aᵢ out. What is left is gᵢ minus an average of all g: with which weights?",
    ),
    solution=softmax_backward,
    cases=slopes,
    slips={
        "only the weight's own score counts here: a (1 − a) g leaves the others out.": (
            lambda a, g: a * (1 - a) * g
        ),
        "a g alone: that the weights sum to one is left out.": lambda a, g: a * g,
        "the plain mean of g is subtracted; the average is weighted by a.": lambda a, g: (
            a * (g - g.mean(dim=-1, keepdim=True))
        ),
        "the sum of g is subtracted; each g counts by its weight.": lambda a, g: (
            a * (g - g.sum(dim=-1, keepdim=True))
        ),
        "the average of g is added; raising one score lowers the other weights.": lambda a, g: (
            a * (g + (a * g).sum(dim=-1, keepdim=True))
        ),
        "the sum runs over the queries; each row is a softmax of its own.": lambda a, g: (
            a * (g - (a * g).sum(dim=-2, keepdim=True))
        ),
        "the sum over the keys has lost its axis, and the rows meet the wrong one: "
        "keepdim=True leaves each row its own.": lambda a, g: a * (g - (a * g).sum(dim=-1)),
        "the factor a in front is missing.": lambda a, g: g - (a * g).sum(dim=-1, keepdim=True),
        "the sign is turned.": lambda a, g: a * ((a * g).sum(dim=-1, keepdim=True) - g),
        "the sum runs over all rows; each row is a softmax of its own.": lambda a, g: (
            a * (g - (a * g).sum())
        ),
    },
    shortcuts=("torch.autograd.grad",),
    why="The factor a says it: a weight that is nearly 0 passes nothing back. Where one is "
    "nearly 1, the average of g is nearly its own g, so nothing either. That is why scores are "
    "kept small.",
)

# 3.15 A score's deviation -------------------------------------------------------------------

DEVIATION = Question(
    number="3.15",
    title="Derive: how far apart are the scores?",
    text="Every number of a query has mean 0 and standard deviation 2, every number of a key "
    "mean 0 and standard deviation 3, all independent. The width is 64. What is the standard "
    "deviation of a score *after* the division by √64?",
    minutes=10,
    trains="the rule of variances that the root comes from",
    section="Why divide by √d?",
    hints=(
        "What is the variance of one product of a query's number and a key's?",
        "Both have mean 0 and are independent: the variance of the product is the product of "
        "the variances.",
        "64 such variances add up. Take the root, and divide.",
    ),
    answer=6,
    slips={
        "That is before the division by √64.": 48,
        "That is the variance; its root is asked for.": 36,
        "Divided by 64: the root of the width is 8.": 0.75,
        "Deviations of a product are multiplied, not added.": 5,
        "That would be a sum of the two numbers; a score is made of their products.": 13**0.5,
    },
    solution="variance = 64 * 2**2 * 3**2\nvariance**0.5 / 64**0.5",
    why="Divided by √d, a score deviates by a query's deviation times a key's, 2 · 3, at any "
    "width. √d cannot make up for queries that have grown. A layer norm before the layer keeps "
    "the tokens in size, but $W_q$ and $W_k$ may still grow.",
)

# 3.16 Doubled queries -----------------------------------------------------------------------

SPREAD = Question(
    number="3.16",
    title="Measure: how many are looked at?",
    text="*e* to the entropy of a row says how many tokens it looks at, as it were: 65 if at "
    "all 65 alike, 1 if at a single one. Draw queries and keys of deviation 1, 65 tokens of "
    "width 64, ten times at least, and *multiply every number of the queries by 2*. Divide the "
    "scores by √64, as always. What is *e* to the mean entropy of all rows? The entropy is "
    "taken with the natural logarithm, as it is. (10 percent off is near enough.)",
    minutes=15,
    trains="measuring instead of believing",
    section="Which root?",
    hints=(
        "Entropy of a row: minus the sum of a · ln a.",
        "Queries doubled is scores doubled: divide by √64, as always.",
        "Average the entropies of some hundred rows first, then take *e* to the power of that.",
    ),
    answer=14.5,
    slips={
        "That is without doubling the queries.": 40.6,
        "All alike would be 65; scores of deviation 2 are far from alike.": 65,
        "That is halved in place of doubled.": 57.5,
        "That is the entropy itself; *e* to the power of it is asked for.": 2.67,
        "That is without the division by √64.": 1.3,
    },
    solution="""torch.manual_seed(0)
q, k = 2 * torch.randn(50, 65, 64), torch.randn(50, 65, 64)
a = (q @ k.mT / 8).softmax(dim=-1)
(-(a * a.log()).sum(dim=-1)).mean().exp().item()""",
    within=0.1,
    why="Twice the queries, and a look takes in a third of the tokens it did, and "
    "nothing has changed but their size. A trained model sharpens its looks in just this way.",
)

TASKS = (
    ATTENTION,
    MASK,
    SPLIT,
    JOIN,
    TABLES,
    LAYER,
    CROSS,
    GRID,
    FAULTS,
    GRADIENT,
    DEVIATION,
    SPREAD,
)
