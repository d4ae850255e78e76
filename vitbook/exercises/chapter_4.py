"""Tasks of chapter 4: the norm, the MLP, the block, the whole model."""

import math

import torch
from torch import nn

from vitbook.attention import MultiHeadSelfAttention
from vitbook.encoder import MLP as GivenMLP
from vitbook.encoder import DropPath, EncoderBlock
from vitbook.exercises.chapter_3 import fill
from vitbook.exercises.task import Question, Task, pencil

# 4.5 Layer norm -----------------------------------------------------------------------------


def layer_norm(x, scale, shift, eps):
    """Layer norm of every token of (…, token, dim); scale and shift are (dim,)."""
    from_mean = x - x.mean(dim=-1, keepdim=True)
    variance = (from_mean**2).mean(dim=-1, keepdim=True)
    return scale * from_mean / (variance + eps) ** 0.5 + shift


def norms():
    def given(*shape, eps):
        return pencil(*shape), pencil(shape[-1], seed=1), pencil(shape[-1], seed=2), eps

    page = torch.tensor([[1.0, 2.0, 3.0, 6.0]]).double()
    plain = torch.ones(4).double(), torch.zeros(4).double()
    yield "the page's token, factor 1 and shift 0", (page, *plain, 1e-6)
    yield "two tokens", given(2, 3, eps=0.5)
    yield "three tokens of width 3", given(3, 3, eps=0.25)
    yield "2 pictures of 5 tokens", given(2, 5, 7, eps=0.25)


def normed(dim=-1, unbiased=False, centred=True, size=lambda var, eps: (var + eps) ** 0.5):
    """A norm with one thing changed."""

    def program(x, scale, shift, eps):
        mean = x.mean(dim, keepdim=True)
        variance = x.var(dim, unbiased=unbiased, keepdim=True)
        from_mean = x - mean if centred else x
        return scale * from_mean / size(variance, eps) + shift

    return program


def root_mean_square(x, scale, shift, eps):
    return scale * x / ((x**2).mean(-1, keepdim=True) + eps) ** 0.5 + shift


def no_scale(x, scale, shift, eps):
    return layer_norm(x, torch.ones_like(scale), shift, eps)


def no_shift(x, scale, shift, eps):
    return layer_norm(x, scale, torch.zeros_like(shift), eps)


def shifted_first(x, scale, shift, eps):
    return scale * layer_norm(x, torch.ones_like(scale), shift, eps)


NORM = Task(
    number="4.5",
    title="Layer norm, with factor and shift",
    text="Write layer norm for any number of tokens: subtract the mean, divide by the root of "
    "the variance plus `eps`, then times `scale` plus `shift`, place by place. No norm of "
    "PyTorch. The cases have a large `eps`, so that it shows where you put it.",
    minutes=10,
    trains="knowing over which axis, and by which variance",
    section="Layer norm: every token at the same loudness",
    hints=(
        "The page takes one token by hand. Which axis of (batch, token, dim) did it sum over?",
        "Keep that axis, with length 1: `keepdim=True`.",
        "The variance is divided by 4 for 4 numbers. PyTorch's `var` divides by 3 unless told.",
    ),
    solution=layer_norm,
    cases=norms,
    slips={
        "the variance is divided by n − 1; layer norm divides by n.": normed(unbiased=True),
        "eps stands outside the root; it is added to the variance.": normed(
            size=lambda var, eps: var**0.5 + eps
        ),
        "divided by the variance instead of its root.": normed(size=lambda var, eps: var + eps),
        "eps is not used.": normed(size=lambda var, eps: var**0.5),
        "the mean is taken over the tokens; each token is normed alone.": normed(-2),
        "all tokens are normed together; each token is normed alone.": normed((-2, -1)),
        "the mean is not subtracted.": normed(centred=False),
        "the mean is subtracted nowhere, not even in the variance: that is RMS norm.": (
            root_mean_square
        ),
        "the factor is missing.": no_scale,
        "the shift is missing.": no_shift,
        "the shift is multiplied, too: first the factor, then the shift.": shifted_first,
    },
    shortcuts=("torch.nn.functional.layer_norm", "torch.layer_norm"),
    part="layer_norm",
    why="Every token alone, whatever stands beside it or elsewhere in the batch. So the norm "
    "does the same in training and in use, and for a batch of one.",
)

# 4.6 The MLP --------------------------------------------------------------------------------


class MLP(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x):
        """(…, dim) → (…, dim)."""
        x = self.fc1(x)
        x = x * (1 + torch.erf(x / 2**0.5)) / 2
        return self.fc2(x)


def widths():
    yield "one token of width 2", (pencil(1, 2), 3)
    yield "three tokens of width 5", (pencil(3, 5), 7)
    yield "2 pictures of 3 tokens", (2 * pencil(2, 3, 5), 11)


def thought(answer, x, hidden):
    """What a layer of given weights makes of x."""
    with torch.random.fork_rng(devices=[]):  # the weights are drawn, and then replaced
        layer = fill(answer(x.shape[-1], hidden), x)
    return layer(x)


def phi(x):
    return (1 + torch.erf(x / 2**0.5)) / 2


def gelu(x):
    return x * phi(x)


def by_tanh(x):
    return x / 2 * (1 + torch.tanh((2 / math.pi) ** 0.5 * (x + 0.044715 * x**3)))


def bent(bend=gelu, after=lambda y, x: y):
    class Bent(MLP):
        def forward(self, x):
            return after(self.fc2(bend(self.fc1(x))), x)

    return Bent


BEND = Task(
    number="4.6",
    title="The MLP, and GELU by its formula",
    text="Write `forward`: wider, the bend x · Φ(x), back. Write the bend yourself, with "
    "`torch.erf`: exactly, not by the formula with tanh. There is no dropout, and nothing is "
    "added to the stream here.",
    minutes=10,
    trains="the two thirds of a ViT's weights that are easily forgotten",
    section="MLP: thinking it over, alone",
    hints=(
        "What does Φ(x) say, and what must it be at 0?",
        "Φ(x) is half of 1 plus erf of something; the page has it as `normal_below`.",
        "The bend stands between the two layers, once.",
    ),
    solution=MLP,
    cases=widths,
    run=thought,
    filled=("__init__",),
    slips={
        "there is no bend: two linear layers in a row are one.": bent(lambda x: x),
        "the bend is ReLU; GELU is asked for.": bent(torch.relu),
        "that is the formula with tanh; it comes close, and Φ is asked for.": bent(by_tanh),
        "x · sigmoid(x) is another bend, SiLU; GELU has Φ for the sigmoid.": bent(
            lambda x: x * x.sigmoid()
        ),
        "that is Φ(x); GELU is x · Φ(x).": bent(phi),
        "erf is taken of x; Φ takes it of x / √2.": bent(lambda x: x * (1 + torch.erf(x)) / 2),
        "the half is missing: Φ goes from 0 to 1.": bent(lambda x: 2 * gelu(x)),
        "the one is missing: Φ goes from 0 to 1, erf from −1 to 1.": bent(
            lambda x: gelu(x) - x / 2
        ),
        "the bend comes after the second layer instead of before it.": bent(
            lambda x: x, lambda y, x: gelu(y)
        ),
        "there is a second bend, at the end.": bent(after=lambda y, x: gelu(y)),
        "x is added; that is the block's work.": bent(after=lambda y, x: x + y),
    },
    shortcuts=("torch.nn.functional.gelu", "vitbook.encoder.MLP"),
    part="mlp",
    why="It looks at one token at a time, and it holds two thirds of the weights. The bend is "
    "all that keeps the two matrices from being one.",
)

# 4.7 Drop-path ------------------------------------------------------------------------------


def drop_path(branch, rate, drawn):
    """Silence the branch (batch, …) of those images whose number in (batch,) is below rate."""
    stays = (drawn >= rate).to(branch.dtype)
    return branch * stays.view(-1, *[1] * (branch.ndim - 1)) / (1 - rate)


def dice():
    def given(rate, *drawn, shape):
        return pencil(len(drawn), *shape) + 0.25, rate, torch.tensor(drawn).double()

    yield "two images, the second dropped", given(0.25, 0.5, 0.125, shape=(1, 3))
    yield "two images of two tokens", given(0.75, 0.5, 0.875, shape=(2, 3))
    yield "a rate of 0", given(0.0, 0.5, 0.0, 0.25, shape=(3, 5))
    drawn = (0.125, 0.5, 0.25, 0.75, 0.875)
    yield "5 images, with one number right at the rate", given(0.25, *drawn, shape=(5, 5))
    yield "5 images of 7 tokens", given(0.6, *drawn, shape=(7, 3))


def dropping(stays=lambda d, r: d >= r, by=lambda r: 1 - r, axis=0):
    """A drop-path with one thing changed."""

    def program(branch, rate, drawn):
        one = [1] * branch.ndim
        one[axis] = -1
        return branch * stays(drawn, rate).to(branch.dtype).view(one) / by(rate)

    return program


def first_for_all(branch, rate, drawn):
    return branch * (drawn[0] >= rate) / (1 - rate)


def those_left(branch, rate, drawn):
    return branch[drawn >= rate] / (1 - rate)


DROP = Task(
    number="4.7",
    title="Drop-path, with given dice",
    text="`drawn` has one number from 0 to 1 for every image, already thrown. Silence the "
    "branch of an image if its number is *below* `rate`, and make those that stay larger, so "
    "that the average is the same. `rate` is below 1. The branch has images first, and any "
    "axes behind.",
    minutes=10,
    trains="one factor per image, and an average that stays",
    section="Drop-path: skip a branch",
    hints=(
        "With a rate of ¼: how many of four stay, and by what must each be divided?",
        "The factor has one number per image. Which shape must it have, to reach all tokens?",
        "`view(-1, 1, 1)` for three axes; here there may be more, or fewer.",
    ),
    solution=drop_path,
    cases=dice,
    slips={
        "those that stay are not made larger: the average falls.": dropping(by=lambda r: 1),
        "divided by the rate; those that stay are divided by 1 − rate.": dropping(
            by=lambda r: r or 1
        ),
        "multiplied by 1 − rate instead of divided: the average falls twice.": dropping(
            by=lambda r: 1 / (1 - r)
        ),
        "those that should stay are dropped, and the others stay.": dropping(
            lambda d, r: d < r
        ),
        "a number right at the rate is not below it: this image stays.": dropping(
            lambda d, r: d > r
        ),
        "dropped below 1 − rate; an image is dropped below the rate.": dropping(
            lambda d, r: d >= 1 - r
        ),
        "the first number decides for the whole batch; each image has its own.": first_for_all,
        "the numbers are laid along the tokens; each belongs to an image.": dropping(axis=1),
        "those dropped are missing from the batch; they become zeros.": those_left,
    },
    part="drop_path",
    why="A branch that is silent for an image leaves its stream as it was: the image skips the "
    "layer. That works only because layers add.",
)

# 4.8 The block ------------------------------------------------------------------------------


class Block(nn.Module):
    """Pre-norm block, eq. 2 and 3."""

    def __init__(self, dim, heads, mlp_dim, drop_path=0.0):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = MultiHeadSelfAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = GivenMLP(dim, mlp_dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x):
        """(batch, token, dim) → the same."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class Halved(nn.Module):
    """Stands in for drop-path, without dice."""

    def forward(self, branch):
        return branch / 2


def streams():
    yield "one token of width 3", (pencil(1, 1, 3), 1, 2)
    yield "three tokens, 2 heads", (pencil(1, 3, 6), 2, 5)
    yield "2 images of 5 tokens, 3 heads", (pencil(2, 5, 21), 3, 11)


def stepped(answer, x, heads, mlp_dim):
    """Through the block as it is, and with a drop-path that halves what it is given."""
    with torch.random.fork_rng(devices=[]):  # the weights are drawn, and then replaced
        block = fill(answer(x.shape[-1], heads, mlp_dim), x)
    plain = block(x)
    if plain is None:
        return None
    block.drop_path = Halved()
    return plain, block(x)


def blocks(forward):
    class Changed(Block):
        pass

    Changed.forward = forward
    return Changed


def post_norm(self, x):
    x = self.norm1(x + self.drop_path(self.attn(x)))
    return self.norm2(x + self.drop_path(self.mlp(x)))


def replaced(self, x):
    x = self.drop_path(self.attn(self.norm1(x)))
    return self.drop_path(self.mlp(self.norm2(x)))


def parallel(self, x):
    attended = self.drop_path(self.attn(self.norm1(x)))
    return x + attended + self.drop_path(self.mlp(self.norm2(x)))


def first_lost(self, x):
    z = x + self.drop_path(self.attn(self.norm1(x)))
    return x + self.drop_path(self.mlp(self.norm2(z)))


def one_norm(self, x):
    x = x + self.drop_path(self.attn(self.norm1(x)))
    return x + self.drop_path(self.mlp(self.norm1(x)))


def no_second_norm(self, x):
    x = x + self.drop_path(self.attn(self.norm1(x)))
    return x + self.drop_path(self.mlp(x))


def mlp_first(self, x):
    x = x + self.drop_path(self.mlp(self.norm2(x)))
    return x + self.drop_path(self.attn(self.norm1(x)))


def normed_stream(self, x):
    x = self.norm1(x)
    x = x + self.drop_path(self.attn(x))
    x = self.norm2(x)
    return x + self.drop_path(self.mlp(x))


def never_dropped(self, x):
    x = x + self.attn(self.norm1(x))
    return x + self.mlp(self.norm2(x))


def stream_dropped(self, x):
    x = self.drop_path(x + self.attn(self.norm1(x)))
    return self.drop_path(x + self.mlp(self.norm2(x)))


def dropped_once(self, x):
    x = x + self.attn(self.norm1(x))
    return x + self.drop_path(self.mlp(self.norm2(x)))


BLOCK = Task(
    number="4.8",
    title="The block",
    text="Write `forward` from the paper's equations 2 and 3, which the chapter shows: "
    "attention, then MLP, each with its norm inside the branch, each through `drop_path`, each "
    "added to the stream.",
    minutes=10,
    trains="the two lines that everything is stacked from",
    section="The block",
    hints=(
        "Draw the stream as a straight line. What leaves it, and where does it come back?",
        "Is there anything on the stream itself, other than two plus signs?",
        "The second branch reads the stream *after* the first addition.",
    ),
    solution=Block,
    cases=streams,
    run=stepped,
    filled=("__init__",),
    names="from vitbook import MultiHeadSelfAttention\n"
    "from vitbook.encoder import MLP as GivenMLP\nfrom vitbook.encoder import DropPath",
    slips={
        "the norms stand on the stream, after the sums: that is post-norm.": blocks(post_norm),
        "nothing is added: the branches replace the stream.": blocks(replaced),
        "both branches read the same stream; the MLP reads what attention has added.": blocks(
            parallel
        ),
        "what attention added is lost: the second sum starts from the old x.": blocks(
            first_lost
        ),
        "norm1 is used twice, and norm2 never.": blocks(one_norm),
        "the second branch has no norm.": blocks(no_second_norm),
        "the MLP comes first; attention should.": blocks(mlp_first),
        "the norm stays on the stream: only the branch should see it.": blocks(normed_stream),
        "drop_path is not used.": blocks(never_dropped),
        "drop_path is put on the sum: it may silence a branch, never the stream.": blocks(
            stream_dropped
        ),
        "drop_path is missing on the first branch.": blocks(dropped_once),
    },
    part="block",
    why="With both branches silent the block hands on what it got, unchanged. A branch that "
    "has nothing to say does no harm.",
)

# 4.9 The model ------------------------------------------------------------------------------


class Model(nn.Module):
    """A Vision Transformer that is given patches, and has a class token for either pool."""

    def __init__(self, patches, width, dim, depth, classes, pool):
        super().__init__()
        self.pool = pool  # "cls" or "mean"
        self.projection = nn.Linear(width, dim)
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.position = nn.Parameter(torch.zeros(1, patches + 1, dim))
        self.blocks = nn.Sequential(*[EncoderBlock(dim, 1, 2 * dim) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, classes)

    def encode(self, patches):
        """(batch, patch, width) → normalised tokens (batch, 1 + patch, dim)."""
        tokens = self.projection(patches)
        first = self.class_token.expand(len(tokens), -1, -1)
        tokens = torch.cat([first, tokens], dim=1) + self.position
        return self.norm(self.blocks(tokens))

    def forward(self, patches):
        """(batch, patch, width) → logits (batch, classes)."""
        tokens = self.encode(patches)
        read = tokens[:, 0] if self.pool == "cls" else tokens[:, 1:].mean(dim=1)
        return self.head(read)


def pictures():
    yield "two patches, class token", (pencil(1, 2, 3), 2, "cls")
    yield "two patches, mean", (pencil(1, 2, 3), 2, "mean")
    yield "3 pictures of 5 patches, class token", (pencil(3, 5, 7), 11, "cls")
    yield "3 pictures of 5 patches, mean", (pencil(3, 5, 7), 11, "mean")


def classified(answer, patches, classes, pool):
    """Tokens and logits of a model of two blocks."""
    with torch.random.fork_rng(devices=[]):  # the weights are drawn, and then replaced
        model = answer(patches.shape[1], patches.shape[2], 5, 2, classes, pool)
    model = fill(model, patches)
    tokens = model.encode(patches)
    return None if tokens is None else (tokens, model(patches))


def models(
    start=lambda self, first, tokens: torch.cat([first, tokens], dim=1) + self.position,
    end=lambda self, z: self.norm(z),
    read=lambda self, z: z[:, 0] if self.pool == "cls" else z[:, 1:].mean(dim=1),
    answer=lambda self, y: self.head(y),
):
    """A model with one thing changed."""

    class Changed(Model):
        def encode(self, patches):
            tokens = self.projection(patches)
            first = self.class_token.expand(len(tokens), -1, -1)
            return end(self, self.blocks(start(self, first, tokens)))

        def forward(self, patches):
            return answer(self, read(self, self.encode(patches)))

    return Changed


def pooled(mean, cls=lambda z: z[:, 0]):
    return models(read=lambda self, z: cls(z) if self.pool == "cls" else mean(z))


MODEL = Task(
    number="4.9",
    title="The whole model, from patches to logits",
    text="Write `encode` and `forward` of a model that is given patches. Unlike the chapter's, "
    'it has a class token for either pool; with "mean" it reads the average of the *patch* '
    "tokens alone. Class token first, then positions on all, blocks, norm; pool; head.",
    minutes=20,
    trains="equations 1 to 4 in their order",
    section="The model",
    hints=(
        "How many rows has `position`, and so when must it be added?",
        "The class token is (1, 1, dim), and every picture of the batch needs one.",
        "`encode` ends with the norm. Which tokens are patches, in `forward`?",
    ),
    solution=Model,
    cases=pictures,
    run=classified,
    filled=("__init__",),
    names="from vitbook.encoder import EncoderBlock",
    slips={
        "the last norm is missing.": models(end=lambda self, z: z),
        "the class token stands at the end; it comes first.": models(
            start=lambda self, first, tokens: torch.cat([tokens, first], 1) + self.position,
        ),
        "there are no positions.": models(
            start=lambda self, first, tokens: torch.cat([first, tokens], 1)
        ),
        "the class token has no position.": models(
            start=lambda self, first, tokens: torch.cat(
                [first, tokens + self.position[:, 1:]], 1
            )
        ),
        "the class token is all zeros; the learned one is not used.": models(
            start=lambda self, first, tokens: torch.cat([0 * first, tokens], 1) + self.position
        ),
        "the class token is averaged, too; the mean is that of the patches.": pooled(
            lambda z: z.mean(dim=1)
        ),
        "pool is not used: it is always the class token.": pooled(lambda z: z[:, 0]),
        "pool is not used: it is always the mean.": pooled(
            lambda z: z[:, 1:].mean(dim=1), lambda z: z[:, 1:].mean(dim=1)
        ),
        "the first patch is read; the class token stands at place 0.": pooled(
            lambda z: z[:, 1:].mean(dim=1), lambda z: z[:, 1]
        ),
        "the last token is read; the class token stands at place 0.": pooled(
            lambda z: z[:, 1:].mean(dim=1), lambda z: z[:, -1]
        ),
        "the patches are added; their mean is asked for.": pooled(
            lambda z: z[:, 1:].sum(dim=1)
        ),
        "the norm is used twice: `encode` has done it already.": models(
            answer=lambda self, y: self.head(self.norm(y))
        ),
        "these are probabilities; logits are asked for, before any softmax.": models(
            answer=lambda self, y: self.head(y).softmax(dim=-1)
        ),
    },
    part="encode",
    why="Ten lines, and all else is sizes. What the head reads is a choice: a token that "
    "collects, or an average of those that have seen.",
)

# 4.10 Parameters of a block -----------------------------------------------------------------

COUNT = Question(
    number="4.10",
    title="Count a block by hand",
    text="How many parameters has one block as the chapter builds it, of width 10 with 2 heads "
    "and an MLP of hidden width 20? All biases count, and attention's output matrix. Count "
    "without looking back at the formula.",
    minutes=5,
    trains="knowing where the weights are",
    section="The model as a table",
    hints=(
        "Attention: how many square matrices of width 10, the output matrix included?",
        "The MLP has two matrices of 10 × 20, one of them lying.",
        "Every linear layer has biases, one for each number that comes out.",
    ),
    answer=910,
    slips={
        "110 are missing: all biases and norms, or the output matrix with its bias?": 800,
        "4D is missing: the biases of attention, or the two norms?": 870,
        "The biases of the MLP are missing: M + D.": 880,
        "The MLP has two matrices; one is missing.": 710,
        "Both norms have a factor and a shift for each place: 4D, not 2D.": 890,
        "Heads share the width: two of them need no more than one.": 910 + 440,
    },
    solution="D, M = 10, 20\n(4 * D * D + 4 * D) + (2 * D * M + M + D) + 4 * D",
    within=0.0001,
    why="The matrices are 800 of 910 here. At width 768 they are 99.9 percent: biases and "
    "norms weigh nothing.",
)

# 4.11 A planted bug -------------------------------------------------------------------------


def make_blocks(depth, highest, block):
    """A list of blocks; ``block()`` makes one, and its ``rate`` is that of its drop-path."""
    blocks = []
    for i in range(depth):
        layer = block()
        layer.rate = highest * i / max(1, depth - 1)
        blocks.append(layer)
    return blocks


class Piece:
    """A block, as far as its rate goes."""

    def __init__(self):
        self.rate = 0.0


def stacks():
    yield "one block", (1, 0.5)
    yield "three blocks", (3, 0.5)
    yield "five blocks", (5, 0.2)


def stacked(answer, depth, highest):
    """The rates, and how many blocks have weights of their own."""
    made = answer(depth, highest, Piece)
    if made is None:
        return None
    made = list(made)
    return [layer.rate for layer in made], len({id(layer) for layer in made})


def with_rates(rate, shared=False):
    def program(depth, highest, block):
        first, blocks = block(), []
        for i in range(depth):
            layer = first if shared else block()
            layer.rate = rate(i, depth, highest)
            blocks.append(layer)
        return blocks

    return program


def rising(i, depth, highest):
    return highest * i / max(1, depth - 1)


BUG = Task(
    number="4.11",
    title="A stack with two faults",
    text="""This program should make `depth` blocks, each with weights of its own. Their
drop-path rates should rise evenly from 0 in the first block to `highest` in the last; a
single block has rate 0. It runs, and it has two faults. Find them without the chapter's code,
then write it as it should be. `block()` makes one block.

```python
def make_blocks(depth, highest, block):
    layer = block()
    blocks = []
    for i in range(depth):
        layer.rate = highest * i / depth
        blocks.append(layer)
    return blocks
```""",
    minutes=10,
    trains="seeing what is shared, and counting steps between posts",
    section="The model",
    hints=(
        "How often is a block made? How many different ones are in the list?",
        "What is the rate of the last block, with three blocks and `highest` 0.5?",
        "Between three posts there are two steps; and with one post, none.",
    ),
    solution=make_blocks,
    cases=stacks,
    run=stacked,
    slips={
        "nothing has changed: both faults are still in it.": with_rates(
            lambda i, n, h: h * i / n, shared=True
        ),
        "there is still one block, many times over: all layers share their weights, and the "
        "last rate.": with_rates(rising, shared=True),
        "the blocks are right now; the last rate does not reach the highest.": with_rates(
            lambda i, n, h: h * i / n
        ),
        "the first block should have a rate of 0; the count starts too high.": with_rates(
            lambda i, n, h: h * (i + 1) / n
        ),
        "the rates fall; the bottom is to be dropped least.": with_rates(
            lambda i, n, h: h * (n - 1 - i) / max(1, n - 1)
        ),
        "all rates are the same; they should rise.": with_rates(lambda i, n, h: h),
        "a single block should have a rate of 0.": with_rates(
            lambda i, n, h: h * i / (n - 1) if n > 1 else h
        ),
    },
    why="A list of one module many times over is a stack that shares its weights: it runs, it "
    "even learns, and twelve such blocks have the parameters of one. Counting betrays it.",
)

# 4.12 The slope of GELU ---------------------------------------------------------------------


def gelu_slope(x):
    """The derivative of x · Φ(x), number by number."""
    density = torch.exp(-(x**2) / 2) / (2 * math.pi) ** 0.5
    return (1 + torch.erf(x / 2**0.5)) / 2 + x * density


def places():
    yield "a few numbers", (torch.tensor([0.0, 1.0, -1.0]).double(),)
    yield "3 × 5 numbers", (pencil(3, 5),)
    yield "a batch of 2", (2 * pencil(2, 5, 7),)


def density(x):
    return torch.exp(-(x**2) / 2) / (2 * math.pi) ** 0.5


SLOPE = Task(
    number="4.12",
    title="Derive: the slope of GELU",
    text="Derive the derivative of x · Φ(x) on paper, and write it. The derivative of Φ is the "
    "normal density, exp(−x² / 2) / √(2π). No automatic gradients.",
    minutes=15,
    trains="the product rule, and where a unit passes nothing back",
    section="MLP: thinking it over, alone",
    hints=(
        "x · Φ(x) is a product. What does the rule for products say?",
        "The derivative of x is 1, so one term is Φ(x) itself. What is the other one?",
        "At 0 the slope must be a half, and at −1 it is slightly below zero.",
    ),
    solution=gelu_slope,
    cases=places,
    slips={
        "that is Φ(x): the second term of the product rule is missing.": phi,
        "that is x times the density: the first term, Φ(x), is missing.": lambda x: (
            x * density(x)
        ),
        "the density has no factor x.": lambda x: phi(x) + density(x),
        "the second term is subtracted; the product rule adds.": lambda x: (
            phi(x) - x * density(x)
        ),
        "the density is not divided by √(2π).": lambda x: phi(x) + x * torch.exp(-(x**2) / 2),
        "the exponent is −x² / 2; the half is missing.": lambda x: (
            phi(x) + x * torch.exp(-(x**2)) / (2 * math.pi) ** 0.5
        ),
        "that is GELU itself; its slope is asked for.": gelu,
        "that is the slope of ReLU, a step.": lambda x: (x > 0).to(x.dtype),
    },
    shortcuts=("torch.autograd.grad", "torch.func.grad"),
    why="Below −0.75 the slope is negative, and far down it is 0: a unit that is very negative "
    "passes nothing back. Just below 0 it still does, unlike ReLU's.",
)

# 4.13 Published names -----------------------------------------------------------------------


def block_from_published(state, i):
    """The weights of block i, under the names of our EncoderBlock."""
    theirs = f"encoder.layer.{i}."
    names = {
        "norm1": "layernorm_before",
        "attn.out": "attention.output.dense",
        "norm2": "layernorm_after",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }
    ours = {}
    for kind in ("weight", "bias"):
        qkv = [
            state[f"{theirs}attention.attention.{name}.{kind}"]
            for name in ("query", "key", "value")
        ]
        ours[f"attn.qkv.{kind}"] = torch.cat(qkv)
        for mine, published in names.items():
            ours[f"{mine}.{kind}"] = state[f"{theirs}{published}.{kind}"]
    return ours


def published(numbers, dim, hidden):
    """A state dict with these blocks."""
    widths = {
        "layernorm_before": (dim,),
        "attention.attention.query": (dim, dim),
        "attention.attention.key": (dim, dim),
        "attention.attention.value": (dim, dim),
        "attention.output.dense": (dim, dim),
        "layernorm_after": (dim,),
        "intermediate.dense": (hidden, dim),
        "output.dense": (dim, hidden),
    }
    state = {}
    for i in numbers:
        for k, (name, shape) in enumerate(widths.items()):
            at = f"encoder.layer.{i}.{name}"
            state[f"{at}.weight"] = pencil(*shape, seed=100 * i + k)
            state[f"{at}.bias"] = pencil(shape[0], seed=100 * i + k + 50)
    return state


def states():
    yield "one block", (published([0], 2, 3), 0)
    yield "the second of two", (published([0, 1], 3, 5), 1)
    yield "block 1 of 12", (published([1, 11], 3, 3), 1)


def translated(order=(0, 1, 2), swap=(), change=lambda name, weight: weight, block=None):
    """A translation with one thing changed."""

    def program(state, i):
        ours = block_from_published(state, i if block is None else block(state))
        for kind in ("weight", "bias"):
            thirds = ours[f"attn.qkv.{kind}"].chunk(3)
            ours[f"attn.qkv.{kind}"] = torch.cat([thirds[k] for k in order])
            if swap:
                one, other = (f"{name}.{kind}" for name in swap)
                ours[one], ours[other] = ours[other], ours[one]
        return {name: change(name, weight) for name, weight in ours.items()}

    return program


def with_output_of_attention(state, i):
    ours = block_from_published(state, i)
    for kind in ("weight", "bias"):
        ours[f"mlp.fc2.{kind}"] = ours[f"attn.out.{kind}"]
    return ours


def last_of_all(state):
    return max(int(name.split(".")[2]) for name in state)


def woven(name, weight):
    return (
        weight.unflatten(0, (3, -1)).transpose(0, 1).flatten(0, 1) if "qkv" in name else weight
    )


NAMES = Task(
    number="4.13",
    title="From published names to ours",
    text="""Weights of a ViT from the Hugging Face hub have other names than ours. Translate
those of block `i`; `state` holds all of them. Below, `N.` stands for `encoder.layer.N.` with
N = `i`; every name ends in `.weight` or `.bias`. For `i = 1`,
`encoder.layer.1.attention.attention.query.weight` goes into `attn.qkv.weight`.

| theirs | ours |
|---|---|
| `N.layernorm_before`, `N.layernorm_after` | `norm1`, `norm2` |
| `N.attention.attention.query`, `….key`, `….value` | `attn.qkv`, in this order, by rows |
| `N.attention.output.dense` | `attn.out` |
| `N.intermediate.dense`, `N.output.dense` | `mlp.fc1`, `mlp.fc2` |

Give back a dictionary under our names, for this block alone.""",
    minutes=20,
    trains="reading state dicts, and mistrusting text replacements",
    section="Equal to torchvision",
    hints=(
        "Which names begin with `encoder.layer.1`? Is there a block 11?",
        "Which two published names end in `output.dense`?",
        "A linear layer's weight is (out, in). Along which axis do three layers become one?",
    ),
    solution=block_from_published,
    cases=states,
    slips={
        "queries and keys have changed places in attn.qkv.": translated((1, 0, 2)),
        "keys and values have changed places in attn.qkv.": translated((0, 2, 1)),
        "queries, keys and values are woven row by row; they stand one after the other.": (
            translated(change=woven)
        ),
        "norm1 and norm2 have changed places.": translated(swap=("norm1", "norm2")),
        "attn.out and mlp.fc2 have changed places, or one has the other's weights.": (
            with_output_of_attention
        ),
        "mlp.fc1 and mlp.fc2 have changed places.": translated(swap=("mlp.fc1", "mlp.fc2")),
        "the matrices are turned; PyTorch's linear layers are (out, in) on both sides.": (
            translated(change=lambda name, w: w.mT if w.ndim == 2 else w)
        ),
        "those are the weights of another block: does `layer.1` also find `layer.11`?": (
            translated(block=last_of_all)
        ),
    },
    why="Most of these mistakes load without an error, since the shapes agree. Only a "
    "comparison of outputs betrays them, on weights that are not all zeros.",
)

# 4.14 and 4.15 Numbers ----------------------------------------------------------------------

PATCHES = Question(
    number="4.14",
    title="Predict: patches of 32",
    text="ViT-B/16 and ViT-B/32 read pictures of 224 × 224 pixels in colour and differ in the "
    "patch alone; the width is 768. How many parameters *more* has ViT-B/32?",
    minutes=10,
    trains="which parameters depend on the patch, and which on the number of patches",
    section="The model as a table",
    hints=(
        "Which part of the table reads the pixels of a patch, and which has a row per token?",
        "The projection grows: 32 · 32 · 3 numbers come in, in place of 16 · 16 · 3.",
        "And there are 49 patches in place of 196, so another part shrinks.",
    ),
    answer=(32**2 - 16**2) * 3 * 768 - (196 - 49) * 768,
    slips={
        "The table of positions shrinks as well: 147 rows fewer.": (32**2 - 16**2) * 3 * 768,
        "Three numbers per pixel, and four times the pixels: which of the two is missing?": (
            32**2 - 16**2
        )
        * 768
        - 147 * 768,
        "The table of positions shrinks; it doesn't grow.": (32**2 - 16**2) * 3 * 768
        + 147 * 768,
        "The projection grows, too: that is only what the positions lose.": -147 * 768,
        "Some depend on the patch: the projection, and the table of positions.": 0,
    },
    solution="(32**2 - 16**2) * 3 * 768 - (14**2 - 7**2) * 768",
    within=0.0001,
    why="Larger patches cost parameters and save time: 50 tokens in place of 197. The number "
    "of parameters says little about what a ViT costs.",
)

STREAM = Question(
    number="4.15",
    title="Measure: quieter branches",
    text="Tokens of deviation 1 and width 256 pass 24 branches. Each is a layer norm, then a "
    "linear layer without bias, its square matrix drawn by Xavier's rule (see *The model*) and "
    "then *halved*; each is added to the stream. What is the deviation of all numbers of the "
    "stream after the last addition? Measure it, or work it out: variances of independent "
    "things add up. (10 percent off is near enough.)",
    minutes=20,
    trains="what adds up when independent things are added",
    section="Only add",
    hints=(
        "How large is what comes out of a square Xavier matrix, if 1 goes in? And halved?",
        "`nn.init.xavier_uniform_`, a loop of 24, `F.layer_norm(stream, (256,))`.",
        "Variances of independent terms add up: 1, and 24 times that of a branch.",
    ),
    answer=7**0.5,
    slips={
        "That is with the matrices as they were drawn, not halved.": 5,
        "Deviations do not add up; variances do.": 13,
        "A half in deviation is a quarter in variance.": 13**0.5,
        "The norm stands in the branch; nothing brings the stream back to 1.": 1,
        "That is the variance; its root is asked for.": 7,
    },
    solution="""torch.manual_seed(0)
stream = torch.randn(500, 256)
for _ in range(24):
    matrix = nn.init.xavier_uniform_(torch.empty(256, 256)) / 2
    stream = stream + F.layer_norm(stream, (256,)) @ matrix
stream.std().item()""",
    within=0.1,
    why="√(1 + 24 / 4) ≈ 2.65. A branch's share of the stream falls with depth, since the norm "
    "keeps its input at one size while the stream grows. Smaller starts let it grow less.",
)

TASKS = (
    NORM,
    BEND,
    DROP,
    BLOCK,
    MODEL,
    COUNT,
    BUG,
    SLOPE,
    NAMES,
    PATCHES,
    STREAM,
)
