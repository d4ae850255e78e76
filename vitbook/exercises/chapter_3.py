"""Tasks of chapter 3: attention, masks, heads."""

import torch
from einops import rearrange

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
    why="Score, scale, softmax, collect. Dividing by √d keeps the scores at a size at "
    "which the "
    "softmax still listens to all of them.",
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
    text="Turn scores into weights where some looks are forbidden. True in the mask means: "
    "may be "
    "looked at. A row in which all is hidden looks nowhere: zeros, not `nan`.",
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
    why="Hidden before the softmax, so that the others share what is left; and once more "
    "after it, "
    "for rows in which nothing is left to share.",
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
    text="Cut the width of every token into `heads` parts of equal width, neighbours "
    "together, and "
    "put the axis of heads in front of the tokens.",
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
    why="A head is a run of neighbouring numbers of every token. The axis of heads stands "
    "in front "
    "of the tokens, so that one matrix product serves all of them.",
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
    "token before the patches. How many attention weights does it form?",
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
    "times "
    "as many.",
)

TASKS = (ATTENTION, MASK, SPLIT, JOIN, TABLES)
