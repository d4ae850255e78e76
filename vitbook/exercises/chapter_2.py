"""Tasks of chapter 2: tokens, the class token, positions."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn
from torch.func import functional_call

from vitbook.exercises.task import Question, Task, pencil


def with_weights(module, weights, images):
    """What a module gives with these weights, whatever it began with."""
    return functional_call(module, weights, (images,))


# 2.5 The projection as a convolution --------------------------------------------------------


def pixels():
    for words, p, shape, dim in (
        ("one patch of 2 × 2 pixels, and a width of 3", 2, (1, 1, 2, 2), 3),
        ("a grid of 2 × 3 patches", 2, (1, 1, 4, 6), 5),
        ("a batch of 2, three channels", 5, (2, 3, 10, 15), 7),
    ):
        images, weight = pencil(*shape), pencil(dim, shape[1] * p * p, seed=1)
        yield words, (images, weight, pencil(dim, seed=2) + 0.25, p)


def projected(program, images, weight, bias, patch_size):
    """The tokens that a patch embedding makes with these weights."""
    with torch.random.fork_rng(devices=[]):
        module = program(patch_size, images.shape[1], len(weight))
    weights = {"projection.weight": weight, "projection.bias": bias}
    return with_weights(module, weights, images)


class PatchEmbedding(nn.Module):
    """(b, c, H, W) → (b, patch, dim)."""

    def __init__(self, patch_size, channels, dim):
        super().__init__()
        self.patch_size, self.channels = patch_size, channels
        self.projection = nn.Linear(channels * patch_size**2, dim)

    def forward(self, images):
        """One convolution, with the matrix for its kernel."""
        p = self.patch_size
        kernel = self.projection.weight.reshape(-1, self.channels, p, p)
        tokens = F.conv2d(images, kernel, self.projection.bias, stride=p)
        return rearrange(tokens, "b d h w -> b (h w) d")


def convolved(kernel="d (c p q) -> d c p q", tokens="b d h w -> b (h w) d", bias=True):
    """A patch embedding with one thing changed."""

    class Changed(PatchEmbedding):
        def forward(self, images):
            p, linear = self.patch_size, self.projection
            weight = rearrange(linear.weight, kernel, p=p, q=p)
            x = F.conv2d(images, weight, linear.bias if bias else None, stride=p)
            return rearrange(x, tokens)

    return Changed


class ReshapedTokens(PatchEmbedding):
    def forward(self, images):
        x = convolved(tokens="b d h w -> b d h w").forward(self, images)
        return x.reshape(len(x), -1, x.shape[1])


PROJECTION = Task(
    number="2.5",
    title="The projection, as one convolution",
    text="The weights and the bias are those of a linear layer, as in the chapter; a row of "
    "the matrix runs over channel, row, column, as chapter 1 lays a patch out. Write `forward` "
    "with a single `F.conv2d` and without `patchify`: make a kernel of the matrix, and tokens "
    "of what the convolution gives. `__init__` is given.",
    minutes=15,
    trains="seeing the same numbers as a matrix and as a kernel",
    section="From 48 numbers to the model's width",
    hints=(
        "Chapter 1 made a matrix of a kernel. What is the way back?",
        "A row of the matrix runs over channel, row, column. The convolution steps by one "
        "patch width.",
        "The convolution gives (b, dim, h, w): the grid has to become one axis, and to move in "
        "front of `dim`.",
    ),
    solution=PatchEmbedding,
    cases=pixels,
    run=projected,
    filled=("__init__",),
    slips={
        "the matrix is read channels last; a row runs over channel, row, column.": convolved(
            kernel="d (p q c) -> d c p q"
        ),
        "the kernels are mirrored along their diagonal: rows and columns swapped?": convolved(
            kernel="d (c q p) -> d c p q"
        ),
        "the bias is missing.": convolved(bias=False),
        "the grid still has two axes, behind the width: (b, dim, h, w).": convolved(
            tokens="b d h w -> b d h w"
        ),
        "tokens and width have changed places: flattened, but not moved.": convolved(
            tokens="b d h w -> b d (h w)"
        ),
        "a reshape does not move the width behind the grid: tokens are mixed.": ReshapedTokens,
        "the tokens run column by column: (w h) for (h w)?": convolved(
            tokens="b d h w -> b (w h) d"
        ),
    },
    part="patch_projection",
    why="torchvision and timm keep this layer as a convolution, this book as a matrix. The "
    "same numbers: a reshape of the weights turns one into the other.",
)

# 2.6 Tokens that are no patches -------------------------------------------------------------


def sequences():
    yield "two patches of width 3, one class token", (pencil(1, 2, 3), pencil(1, 1, 3) + 5)
    yield "a batch of 2, one class token", (pencil(2, 3, 5), pencil(1, 1, 5) + 5)
    yield "a batch of 2, a class token and 2 more", (pencil(2, 5, 7), pencil(1, 3, 7) + 5)


def add_class_token(tokens, class_token):
    """(b, N, D), (1, k, D) → (b, k + N, D)."""
    first = class_token.expand(len(tokens), -1, -1)
    return torch.cat([first, tokens], dim=1)


def put_last(tokens, class_token):
    return add_class_token(tokens, class_token).roll(-class_token.shape[1], dims=1)


def zeros_first(tokens, class_token):
    return add_class_token(tokens, torch.zeros_like(class_token))


def mean_first(tokens, class_token):
    return torch.cat(
        [tokens.mean(1, keepdim=True).expand(-1, class_token.shape[1], -1), tokens], 1
    )


def only_one(tokens, class_token):
    return add_class_token(tokens, class_token[:, :1])


def replaced(tokens, class_token):
    return add_class_token(tokens[:, class_token.shape[1] :], class_token)


def turned(tokens, class_token):
    return add_class_token(tokens, class_token.flip(1))


def everywhere(tokens, class_token):
    return tokens + class_token.mean(1, keepdim=True)


CLASS_TOKEN = Task(
    number="2.6",
    title="Tokens that are no patches",
    text="Put learned tokens in front of the patches of every picture. There are k of them: "
    "the class token at place 0, and perhaps others between it and the patches (later papers "
    "add some, and call them registers).",
    minutes=5,
    trains="one vector for all pictures of a batch",
    section="One token too many",
    hints=(
        "The learned tokens have a batch of one. How does every picture get its own copy?",
        "`expand` and einops' `repeat` both copy along an axis of size 1.",
        "Two tensors are joined along the axis of tokens, which is number 1. Which goes first?",
    ),
    solution=add_class_token,
    cases=sequences,
    slips={
        "the learned tokens stand at the end; the class token's place is 0.": put_last,
        "zeros are put in front; they are only the class token's values before training.": (
            zeros_first
        ),
        "the mean of the patches is put in front; the class token knows nothing of them.": (
            mean_first
        ),
        "only the first of the learned tokens is put in front.": only_one,
        "the learned tokens replace the first patches; they come on top.": replaced,
        "the learned tokens stand in reverse: was each put in front of the one before?": turned,
        "the vector is added to every patch; it makes a token of its own.": everywhere,
    },
    part="class_token",
    why="The batch shares one vector, so its gradient is the sum over all pictures. `expand` "
    "does not even copy it.",
)

# 2.7 One axis -------------------------------------------------------------------------------


def places():
    some = torch.tensor([0, 0.5, 2, 3.5, 7], dtype=torch.float64)
    yield "places 0 and 1, two numbers each", (some.new_tensor([0, 1]), 2, 10_000)
    yield "places 0 to 3, eight numbers each", (torch.arange(4).double(), 8, 10_000)
    yield "places between the whole ones, temperature 100", (some, 6, 100)


def sincos_1d(places, dim, temperature=10_000):
    """(N,) → (N, dim): sine, cosine, sine, cosine, … of ever slower hands."""
    frequencies = temperature ** -(torch.arange(dim // 2) / (dim // 2))
    angles = places[:, None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


def hands(pattern="s n f -> n (f s)", exponent=lambda k, n: -k / n, warm=True, turn=1, swap=1):
    """A table for one axis with one thing changed."""

    def program(places, dim, temperature=10_000):
        k = torch.arange(dim // 2)
        frequencies = float(temperature if warm else 10_000) ** exponent(k, dim // 2)
        angles = turn * places[:, None] * frequencies
        waves = torch.stack([angles.sin(), angles.cos()][::swap])
        return rearrange(waves, pattern)

    return program


SINES = Task(
    number="2.7",
    title="Sines, as the first Transformer has them",
    text="The chapter puts all sines before all cosines. Vaswani et al. lay them alternately: "
    "sine and cosine of the fastest hand, then of the next. Write their table for one axis, "
    "with the chapter's frequencies; one axis alone has `dim // 2` of them. `places` is a "
    "tensor, and need not hold whole numbers.",
    minutes=10,
    trains="frequencies, angles, and an order of axes",
    section="Positions by formula",
    hints=(
        "How many frequencies do `dim` numbers need, if each gives a sine and a cosine?",
        "`places[:, None] * frequencies` is a table of angles, a row for each place.",
        "Give sine and cosine an axis of their own behind the frequencies, then join the two "
        "axes.",
    ),
    solution=sincos_1d,
    cases=places,
    slips={
        "all sines come first; here each sine is followed by its cosine.": hands(
            "s n f -> n (s f)"
        ),
        "cosines stand before sines.": hands(swap=-1),
        "the hands get faster instead of slower: the exponents are negative.": hands(
            exponent=lambda k, n: k / n
        ),
        "exponents run to a half only: k / (dim / 2), not k / dim.": hands(
            exponent=lambda k, n: -k / (2 * n)
        ),
        "exponents run too fast: k / (dim / 2), not 2k / (dim / 2).": hands(
            exponent=lambda k, n: -2 * k / n
        ),
        "temperature is not used; 10,000 is fixed.": hands(warm=False),
        "angles are multiplied by 2π: the fastest hand turns by 1 per step, not by a full "
        "turn.": hands(turn=2 * torch.pi),
    },
    why="The order makes no difference to what a model can learn. It does to weights trained "
    "with the other one.",
)

# 2.8 Two axes -------------------------------------------------------------------------------


def grids():
    yield "a grid of 1 × 2, width 8", ((1, 2), 8, 10_000)
    yield "a grid of 2 × 3, width 8", ((2, 3), 8, 10_000)
    yield "a grid of 5 × 3, width 12, temperature 100", ((5, 3), 12, 100)


def sincos_big_vision(grid, dim, temperature=10_000):
    """(rows · columns, dim), columns first, exponents from 0 to 1; dim is 8 at least."""
    frequencies = temperature ** -(torch.arange(dim // 4) / (dim // 4 - 1))
    rows, columns = torch.meshgrid(*map(torch.arange, grid), indexing="ij")
    row_angles = rows.flatten()[:, None] * frequencies
    column_angles = columns.flatten()[:, None] * frequencies
    waves = [column_angles.sin(), column_angles.cos(), row_angles.sin(), row_angles.cos()]
    return torch.cat(waves, dim=1)


def waved(order=(2, 3, 0, 1), last=1, indexing="ij", warm=True, sign=-1):
    """A table for two axes; order counts row sines, row cosines, column sines and cosines."""

    def program(grid, dim, temperature=10_000):
        exponents = torch.arange(dim // 4) / (dim // 4 - last)
        frequencies = float(temperature if warm else 10_000) ** (sign * exponents)
        rows, columns = torch.meshgrid(*map(torch.arange, grid), indexing=indexing)
        angles = [x.flatten()[:, None] * frequencies for x in (rows, columns)]
        waves = [wave for x in angles for wave in (x.sin(), x.cos())]
        return torch.cat([waves[k] for k in order], dim=1)

    return program


SINCOS = Task(
    number="2.8",
    title="Sines and cosines for a grid, in big_vision's way",
    text="Write the table that the chapter says is *not quite* its own: columns before rows "
    "(sines, then cosines, of each), and exponents divided by `dim // 4 - 1`, so that they run "
    "from 0 to 1, both included. Places are still numbered row by row.",
    minutes=15,
    trains="a formula in which two things change, and the rest must not",
    section="Positions by formula",
    hints=(
        "Which two lines of the chapter's function change?",
        "The order of the *numbers in a row* changes; the order of the *rows of the table* "
        "stays.",
        "With `dim` 12 there are three frequencies, with the exponents 0, 1/2 and 1.",
    ),
    solution=sincos_big_vision,
    cases=grids,
    slips={
        "that is the chapter's table: here columns come first, and the exponents reach 1.": (
            waved((0, 1, 2, 3), last=0)
        ),
        "the numbers of the row come first; here those of the column do.": waved((0, 1, 2, 3)),
        "the exponents stop before 1: they are divided by dim // 4 - 1 here.": waved(last=0),
        "places are numbered column by column; the patches run row by row.": waved(
            indexing="xy"
        ),
        "all sines stand before all cosines; each axis keeps its own together.": waved(
            (2, 0, 3, 1)
        ),
        "cosines stand before sines.": waved((3, 2, 1, 0)),
        "temperature is not used; 10,000 is fixed.": waved(warm=False),
        "the hands get faster instead of slower: the exponents are negative.": waved(sign=1),
    },
    part="sincos",
    why="Two tables can both be called sincos and differ in every row. Published weights fit "
    "only the one that they were trained with.",
)

# 2.9 Resizing, with the class token's row ---------------------------------------------------


def tables():
    yield "a grid of 2 × 2 made 3 × 3", (pencil(1, 5, 2), (2, 2), (3, 3))
    yield "a grid of 2 × 3 made 5 × 4", (pencil(1, 7, 3), (2, 3), (5, 4))
    yield "a grid of 5 × 7 made coarser, 3 × 2", (pencil(1, 36, 5), (5, 7), (3, 2))


def resize_positions(table, old_grid, new_grid):
    """(1, 1 + old places, D) → (1, 1 + new places, D); row 0 is the class token's."""
    rows, columns = old_grid
    first, image = table[:, :1], table[:, 1:]
    image = rearrange(image, "1 (h w) d -> 1 d h w", h=rows, w=columns)
    image = F.interpolate(image, new_grid, mode="bicubic", antialias=True)
    return torch.cat([first, rearrange(image, "1 d h w -> 1 (h w) d")], dim=1)


def stretched(
    mode="bicubic", antialias=True, back="1 d h w -> 1 (h w) d", viewed=False, cut=False, **more
):
    """A resized table, with one thing changed."""

    def program(table, old_grid, new_grid):
        (h, w), d = old_grid, table.shape[-1]
        image = rearrange(table[:, 1:], "1 (h w) d -> 1 d h w", h=h, w=w)
        image = table[:, 1:].reshape(1, d, h, w) if viewed else image
        image = F.interpolate(image, new_grid, mode=mode, antialias=antialias, **more)
        image = image.reshape(1, -1, d) if cut else rearrange(image, back)
        return torch.cat([table[:, :1], image], dim=1)

    return program


def without_first(table, old_grid, new_grid):
    return resize_positions(table, old_grid, new_grid)[:, 1:]


def zero_first(table, old_grid, new_grid):
    return F.pad(without_first(table, old_grid, new_grid), (0, 0, 1, 0))


def first_at_the_end(table, old_grid, new_grid):
    return resize_positions(table, old_grid, new_grid).roll(-1, dims=1)


def last_kept(table, old_grid, new_grid):
    moved = resize_positions(table.roll(1, dims=1), old_grid, new_grid)
    return moved.roll(-1, dims=1)


RESIZE = Task(
    number="2.9",
    title="Another grid, and the class token's row",
    text="A stored table has the class token's row in front: (1, 1 + places, D). Resize it "
    "from one grid to another, bicubic and with `antialias=True` as in the chapter. The class "
    "token has no place in the picture; its row stays as it is.",
    minutes=15,
    trains="what every loader of pretrained weights must do",
    section="Another resolution",
    hints=(
        "Which rows of the table belong to a picture, and which does not?",
        "`F.interpolate` reads (batch, channel, height, width). The width D plays the "
        "channels.",
        "Take row 0 away, resize the others as the chapter does, put row 0 in front again.",
    ),
    solution=resize_positions,
    cases=tables,
    slips={
        "the class token's row is lost.": without_first,
        "the class token's row has become zeros; it is learned, and stays as it is.": (
            zero_first
        ),
        "the class token's row stands at the end.": first_at_the_end,
        "the last row is taken for the class token's; it is the first.": last_kept,
        "interpolated linearly; bicubic is asked for.": stretched("bilinear"),
        "antialias is missing: coarser grids come out otherwise.": stretched(antialias=False),
        "the table is only reshaped to (D, h, w): the width must be moved, not cut.": stretched(
            viewed=True
        ),
        "the table is reshaped there and back: width and places are mixed; the width must be "
        "moved.": stretched(viewed=True, cut=True),
        "the new places are numbered column by column.": stretched(back="1 d h w -> 1 (w h) d"),
        "corners are aligned: places at the border should move inwards with their patches.": (
            stretched(align_corners=True)
        ),
    },
    why="This is what happens to a ViT trained at 224 pixels and fine-tuned at 384: 14 × 14 "
    "rows become 24 × 24, and one stays alone.",
)

# 2.10 Which places are alike? ---------------------------------------------------------------


def places_of_a_grid():
    yield "a grid of 1 × 2", (pencil(2, 3) + 0.25, (1, 2))
    yield "a grid of 2 × 3", (pencil(6, 5) + 0.25, (2, 3))
    yield "a grid of 5 × 3", (pencil(15, 7) + 0.25, (5, 3))


def position_similarity(table, grid):
    """(places, D) → (rows, columns, rows, columns): cosines of all pairs of places."""
    unit = table / table.norm(dim=-1, keepdim=True)
    return (unit @ unit.T).reshape(*grid, *grid)


def alike(before=lambda x: x / x.norm(dim=-1, keepdim=True), after=lambda x: x, turn=1):
    """A map of similarities with one thing changed."""

    def program(table, grid):
        x = before(table)
        return after(x @ x.T).reshape(*grid[::turn], *grid[::turn])

    return program


def one_side(table, grid):
    return (F.normalize(table, dim=-1) @ table.T).reshape(*grid, *grid)


def centred(table):
    return F.normalize(table - table.mean(dim=-1, keepdim=True), dim=-1)


def flat(table, grid):
    return position_similarity(table, grid).flatten(2).flatten(0, 1)


SIMILARITY = Task(
    number="2.10",
    title="Which places are alike?",
    text="The chapter imports `position_similarity`. Write it: the cosine of every row of the "
    "table with every other, as a map for each place. Entry `[i, j]` is the map of the place "
    "in row i and column j.",
    minutes=15,
    trains="cosines of all pairs in one product",
    section="Positions that were learned",
    hints=(
        "What must you divide a dot product by to get a cosine?",
        "If all rows have length 1, a single matrix product holds all cosines.",
        "The product has the shape (places, places); both axes split into rows and columns.",
    ),
    solution=position_similarity,
    cases=places_of_a_grid,
    slips={
        "these are dot products: long rows look more alike. Divide by both lengths.": alike(
            lambda x: x
        ),
        "only one of the two rows is divided by its length.": one_side,
        "the columns of the table are made one long; each *row* is a place.": alike(
            lambda x: F.normalize(x, dim=0)
        ),
        "lengths are not rooted: divided by the squared length.": alike(
            lambda x: x / x.square().sum(dim=-1, keepdim=True)
        ),
        "each row lost its mean first: that is a correlation, not a cosine.": alike(centred),
        "the sign is lost: opposite directions are not alike.": alike(after=torch.abs),
        "the grid is read as (columns, rows).": alike(turn=-1),
        "the product is right, but each of its axes still has to split in two.": flat,
    },
    shortcuts=("vitbook.explain.position_similarity",),
    why="This is figure 7 of the paper. Trained rows differ in length, so dot products would "
    "show lengths where directions are meant.",
)

# 2.11 The formula behind the hills ----------------------------------------------------------


def steps():
    yield "two places in one, width 4", (0, 0, 4, 10_000)
    yield "one row apart, width 4", (1, 0, 4, 10_000)
    yield "2 rows and 3 columns apart, width 8", (2, 3, 8, 10_000)
    yield "5 rows and 1 column apart, width 12, temperature 100", (5, 1, 12, 100)


def wave_similarity(rows, columns, dim, temperature=10_000):
    """The cosine of two places' vectors, so many rows and so many columns of the grid apart."""
    frequencies = temperature ** -(torch.arange(dim // 4) / (dim // 4))
    cosines = [(rows * frequencies).cos(), (columns * frequencies).cos()]
    return torch.cat(cosines).mean().item()


def derived(formula):
    """A similarity by another formula of the two angles and the width."""

    def program(rows, columns, dim, temperature=10_000):
        frequencies = temperature ** -(torch.arange(dim // 4) / (dim // 4))
        return formula(rows * frequencies, columns * frequencies, dim).item()

    return program


DERIVE = Task(
    number="2.11",
    title="The formula behind the hills",
    text="Derive it: what is the cosine similarity of two places on the *chapter's* "
    "`sincos_2d` table, if they lie so many rows and so many columns apart? Write it without "
    "building a table, and give back a plain number.",
    minutes=25,
    trains="from a sum of products to a formula",
    section="Positions by formula",
    hints=(
        "sin a sin b + cos a cos b = cos(a - b). What is a - b, for one frequency and one "
        "axis?",
        "The dot product is a sum of such cosines, over frequencies and over both axes.",
        "A place with itself has similarity 1: by what must the sum be divided?",
    ),
    solution=wave_similarity,
    cases=steps,
    slips={
        "that is the dot product: divide by the lengths of both rows.": derived(
            lambda r, c, d: r.cos().sum() + c.cos().sum()
        ),
        "divided by dim, but sine and cosine share one frequency: there are dim / 2 terms.": (
            derived(lambda r, c, d: (r.cos().sum() + c.cos().sum()) / d)
        ),
        "rows and columns are multiplied; they stand side by side, so they add.": derived(
            lambda r, c, d: (r.cos() * c.cos()).mean()
        ),
        "the straight distance does not count; each axis has its own cosine.": derived(
            lambda r, c, d: torch.hypot(r, c).cos().mean()
        ),
        "rows and columns are added before the cosine; each has its own.": derived(
            lambda r, c, d: (r + c).cos().mean()
        ),
        "columns are left out.": derived(lambda r, c, d: r.cos().mean()),
        "the sine of the difference is in it: only cos(a - b) is left.": derived(
            lambda r, c, d: torch.cat([r.cos() + r.sin(), c.cos() + c.sin()]).mean()
        ),
    },
    why="Only differences are left: that is why all maps of the chapter show one hill, moved. "
    "Rotary positions, in today's language models, build attention on this.",
)

# 2.12 A planted bug -------------------------------------------------------------------------


def pieces():
    yield "one patch", (pencil(1, 1, 2), pencil(1, 1, 2) + 3, pencil(1, 2, 2, seed=3) + 0.25)
    yield "a batch of 2", (pencil(2, 3, 5), pencil(1, 1, 5) + 3, pencil(1, 4, 5, seed=3) + 0.25)
    yield "seven patches", (pencil(3, 7, 5), pencil(1, 1, 5), pencil(1, 8, 5, seed=3) + 0.25)


def embed(tokens, class_token, position):
    """Equation 1: (b, N, D), (1, 1, D), (1, N + 1, D) → (b, N + 1, D)."""
    first = class_token.expand(len(tokens), -1, -1)
    return torch.cat([first, tokens], dim=1) + position


def summed(patches=slice(1, None), first=0, plus=0):
    """An embedding whose patches and class token take other rows of the table."""

    def program(tokens, class_token, position):
        added = 0 if first is None else position[:, first : first + 1 or None]
        front = (class_token + added).expand(len(tokens), -1, -1)
        return torch.cat([front, tokens + position[:, patches] + plus * class_token], dim=1)

    return program


def at_the_end(tokens, class_token, position):
    last = class_token.expand(len(tokens), -1, -1)
    return torch.cat([tokens, last], dim=1) + position


EMBED_BUG = Task(
    number="2.12",
    title="A planted bug: positions",
    text="""Something is wrong in this program, though it runs, trains, and even does well. \
Find out what, by the chapter's equation 1, and write it as it should be.

```python
def embed(tokens, class_token, position):
    tokens = tokens + position[:, :-1]
    first = class_token.expand(len(tokens), -1, -1)
    return torch.cat([first, tokens], dim=1)
```""",
    minutes=10,
    trains="which row of the table belongs to which token",
    section="The final form: equation 1",
    hints=(
        "The table has N + 1 rows. Which one does the class token get in this program?",
        "Which row of the table does patch 0 get here, and which in equation 1?",
        "First the sequence is put together, then the whole table is added.",
    ),
    solution=embed,
    cases=pieces,
    slips={
        "still two mistakes: patches take the row before theirs, the class token takes none.": (
            summed(slice(None, -1), None)
        ),
        "the patches have their rows now; the class token still has no position.": summed(
            first=None
        ),
        "patch 0 takes row 0, which is the class token's: patches begin at row 1.": summed(
            slice(None, -1), 0
        ),
        "the class token takes the last row, and patches the first ones; row 0 is its own.": (
            summed(slice(None, -1), -1)
        ),
        "the class token stands at the end now; its place is 0.": at_the_end,
        "the class token is added to the patches, too.": summed(plus=1),
    },
    why="A learned table hides it: each row simply is trained for the place it serves. It "
    "shows when weights are loaded, or the table is resized.",
)

# 2.13 Back in order -------------------------------------------------------------------------


def shuffles():
    for words, shape, order in (
        ("three patches", (1, 4, 2), [1, 2, 0]),
        ("a batch of 2, five patches", (2, 6, 3), [2, 0, 3, 4, 1]),
        ("seven patches", (3, 8, 5), [3, 6, 1, 5, 0, 2, 4]),
    ):
        x = pencil(*shape) + torch.arange(shape[1])[:, None] * 5
        yield words, (x, torch.tensor(order))


def put_back(tokens, order):
    """(b, 1 + N, D): patch tokens of a picture shuffled by ``order`` → in order again."""
    return torch.cat([tokens[:, :1], tokens[:, 1:][:, order.argsort()]], dim=1)


def moved(index, first=True):
    """Patch tokens taken by another index."""

    def program(tokens, order):
        x = tokens[:, 1:][:, index(order)]
        return torch.cat([tokens[:, :1], x], dim=1) if first else x

    return program


def off_by_one(tokens, order):
    back = tokens.clone()
    back[:, order] = tokens[:, 1:]
    return back


def class_token_last(tokens, order):
    return put_back(tokens, order).roll(-1, dims=1)


PUT_BACK = Task(
    number="2.13",
    title="Back in order",
    text="A model without positions was shown the shuffled cat: place k held the patch "
    "`order[k]`. Take the tokens that come out, class token first, and bring the patch tokens "
    "back into the order of the picture. The class token stays where it is.",
    minutes=10,
    trains="an order and its inverse",
    section="What the model knows about where",
    hints=(
        "`x[:, order]` puts at place k what stood at `order[k]`. And the way back?",
        "Take three patches and the order 1, 2, 0, on paper: where must what stands at place 0 "
        "go?",
        "The inverse of an order is `order.argsort()`; `order` counts patches, without the "
        "class token.",
    ),
    solution=put_back,
    cases=shuffles,
    slips={
        "shuffled once more instead of back: the inverse of order is asked for.": moved(
            lambda order: order
        ),
        "nothing has moved.": moved(lambda order: slice(None)),
        "the patches are reversed; going back needs the inverse of order.": moved(
            lambda order: order.flip(0)
        ),
        "the class token is lost.": moved(torch.argsort, first=False),
        "the patches are written one place too early, over the class token.": off_by_one,
        "the class token stands at the end; its place is 0.": class_token_last,
    },
    why="Without positions, what you get is exactly what the cat in order gives. That is "
    "equivariance: shuffle, compute, put back, or compute at once.",
)

# 2.14 and 2.15 Numbers ----------------------------------------------------------------------

WIDTH = Question(
    number="2.14",
    title="Half as much in the way",
    text="The chapter finds that two random vectors with 64 dimensions have a cosine of about "
    "0.10 in size. How many dimensions are needed to bring it down to half of that? Predict "
    "from the numbers that the chapter prints; then draw some and see.",
    minutes=5,
    trains="how room grows with width",
    section="Why add, and not append?",
    hints=(
        "Compare 64 with 768: by how much does the cosine fall, and by how much does the width "
        "grow?",
        "Twelve times the width, and the cosine falls by about 3.5. Which function of 12 is "
        "that?",
        "It falls with the root of the width.",
    ),
    answer=256,
    slips={
        "It falls with the root of the width: twice is not enough.": 128,
        "That is narrower; the cosine would grow.": 32,
        "Narrower, and the wrong way round: more dimensions, more room.": 16,
        "That is too much: at the square of the width it would fall to an eighth.": 4096,
        "Eight times would bring it down by 2.8.": 512,
    },
    solution="64 * 2**2",
    within=0.02,
    why="One over the root of the width: the law behind √d in chapter 3, too.",
)

COOLER = Question(
    number="2.15",
    title="Change one thing: the temperature",
    text="On the chapter's sincos table (8 × 8 places, 64 numbers) all places share much: "
    "the smallest similarity of two of them is printed there. Take `sincos_2d` from "
    "`vitbook.embeddings`, where it is as the chapter writes it, and build the table with "
    "`temperature=100` instead. What is the smallest similarity now? Guess first whether it "
    "rises or falls. Two digits behind the point are enough.",
    minutes=10,
    trains="changing one thing, and saying why before looking",
    section="Positions by formula",
    hints=(
        "Which hands make all places alike: those that turn fast, or those that hardly move?",
        "A lower temperature makes slow hands faster. Do two distant places share more then, "
        "or less?",
        "`sincos_2d((8, 8), 64, temperature=100)`; bring its rows to length 1, multiply each "
        "with each, take the minimum.",
    ),
    answer=0.4544,
    slips={
        "That is with 10,000, or the mean of all pairs; the smallest with 100 is asked for.": (
            0.714
        ),
        "That is with a temperature of 1,000.": 0.628,
        "That is a dot product: divide by the lengths of both rows, √32 each.": 14.54,
        "Those are neighbours; the smallest similarity is that of distant places.": 0.966,
        "A place with itself, or the largest: the smallest is asked for.": 1.0,
    },
    solution="""from vitbook.embeddings import sincos_2d

unit = F.normalize(sincos_2d((8, 8), 64, temperature=100), dim=1)
(unit @ unit.T).min().item()""",
    within=0.03,
    why="On a grid of 8 × 8 most hands of a table made for 10,000 places stand still. A "
    "temperature that fits the grid tells places apart better.",
)

TASKS = (
    PROJECTION,
    CLASS_TOKEN,
    SINES,
    SINCOS,
    RESIZE,
    SIMILARITY,
    DERIVE,
    EMBED_BUG,
    PUT_BACK,
    WIDTH,
    COOLER,
)
