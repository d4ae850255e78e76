"""Tasks of chapter 1: cutting pictures into patches, and putting them back."""

import math

import torch
import torch.nn.functional as F
from einops import rearrange

from vitbook.exercises.task import Question, Task, pencil


def numbered(*shape):
    """Pixels that hold their own numbers: 0, 1, 2, …"""
    return torch.arange(math.prod(shape), dtype=torch.float64).reshape(shape)


def cut(pattern="b c (h ph) (w pw) -> b (h w) (c ph pw)"):
    """A patchify with another pattern."""

    def program(images, patch_size):
        ph, pw = patch_size if isinstance(patch_size, tuple) else (patch_size, patch_size)
        return rearrange(images, pattern, ph=ph, pw=pw)

    return program


# 1.5 Patches that are not square ------------------------------------------------------------


def pictures():
    yield "4 × 4 pixels, numbered from 0, and patches of 2 × 2", (numbered(1, 1, 4, 4), 2)
    yield "6 × 6 pixels, and patches of 2 rows, 3 columns", (numbered(1, 1, 6, 6), (2, 3))
    yield "three channels", (numbered(1, 3, 10, 14), 2)
    yield "a batch of 2, and patches of 5 × 7", (numbered(2, 3, 10, 21), (5, 7))


def patchify(images, patch_size):
    """(b, c, H, W) → (b, h · w, c · ph · pw); patch_size is a number, or (rows, columns)."""
    ph, pw = patch_size if isinstance(patch_size, tuple) else (patch_size, patch_size)
    return rearrange(images, "b c (h ph) (w pw) -> b (h w) (c ph pw)", ph=ph, pw=pw)


def sides_swapped(images, patch_size):
    return patchify(images, patch_size[::-1] if isinstance(patch_size, tuple) else patch_size)


def squares_only(images, patch_size):
    return patchify(images, patch_size[0] if isinstance(patch_size, tuple) else patch_size)


def never_moved(images, patch_size):
    patches = patchify(images, patch_size)
    return images.reshape(patches.shape)


def one_colour(images, patch_size):
    patches = patchify(images, patch_size)
    split = cut("b c (h ph) (w pw) -> b c h w ph pw")(images, patch_size)
    return split.reshape(patches.shape)


PATCHIFY = Task(
    number="1.5",
    title="Patches that are not square",
    text="Write `patchify` so that `patch_size` is either one number, the side of a square, or "
    "a pair `(rows, columns)` of pixels. The order is the chapter's: patches row by row, and "
    "inside a patch channel, row, column. With or without einops.",
    minutes=10,
    trains="naming axes, and keeping rows and columns apart",
    section="Without loops: split the axes, then regroup",
    hints=(
        "How do you make two numbers `ph, pw` out of both kinds of `patch_size`? "
        "`isinstance(patch_size, tuple)` tells them apart.",
        "Height splits into `h` and `ph`, width into `w` and `pw`. Which of the six axes say "
        "*which patch*, and which say *what is in it*?",
        "In einops the chapter's pattern needs no other letters, only two different numbers.",
    ),
    solution=patchify,
    cases=pictures,
    slips={
        "ph and pw have changed places: `patch_size` is (rows, columns).": sides_swapped,
        "the patches are square: only the first number of the pair is used.": squares_only,
        "the patches are numbered column by column: (w h) for (h w)?": cut(
            "b c (h ph) (w pw) -> b (w h) (c ph pw)"
        ),
        "inside a patch pixels run down the columns: (c pw ph) for (c ph pw)?": cut(
            "b c (h ph) (w pw) -> b (h w) (c pw ph)"
        ),
        "inside a patch the channel runs fastest; it should come first: (c ph pw).": cut(
            "b c (h ph) (w pw) -> b (h w) (ph pw c)"
        ),
        "each patch collects pixels from all over: (ph h) for (h ph)?": cut(
            "b c (ph h) (pw w) -> b (h w) (c ph pw)"
        ),
        "pixels are only counted off in their old order: the axes are never moved.": (
            never_moved
        ),
        "the channel still stands before the grid when the axes are joined: tokens see one "
        "colour.": one_colour,
        "patches and their numbers have changed places: swap the last two axes.": cut(
            "b c (h ph) (w pw) -> b (c ph pw) (h w)"
        ),
    },
    part="patchify",
    why="Shapes cannot tell most of these mistakes apart, only numbers can. Spectrograms, "
    "pictures of sound, are cut like this: time and pitch need not share one side.",
)

# 1.6 Channels last --------------------------------------------------------------------------


def photographs():
    yield "2 × 4 pixels of two colours, patches of 2 × 2", (numbered(1, 2, 4, 2), 2)
    yield "6 × 4 pixels, patches of 2 × 2", (numbered(1, 6, 4, 3), 2)
    yield "a batch of 2, patches of 5 × 5", (numbered(2, 10, 15, 3), 5)


def patchify_last(images, patch_size):
    """(b, H, W, c) → (b, h · w, ph · pw · c)."""
    pattern = "b (h ph) (w pw) c -> b (h w) (ph pw c)"
    return rearrange(images, pattern, ph=patch_size, pw=patch_size)


def viewed_as_first(images, patch_size):
    b, height, width, c = images.shape
    first = images.reshape(b, c, height, width)
    return cut("b c (h ph) (w pw) -> b (h w) (ph pw c)")(first, patch_size)


def viewed_throughout(images, patch_size):
    b, height, width, c = images.shape
    return cut()(images.reshape(b, c, height, width), patch_size)


def never_moved_last(images, patch_size):
    return images.reshape(patchify_last(images, patch_size).shape)


CHANNELS_LAST = Task(
    number="1.6",
    title="Channels last",
    text="matplotlib, JAX and most image files keep pictures as `(batch, height, width, "
    "channel)`. Cut such pictures, and let the numbers of a patch run in *their* order: row, "
    "column, channel. The original ViT does just this.",
    minutes=10,
    trains="reading an order of axes off its letters",
    section="Without loops: split the axes, then regroup",
    hints=(
        "Write down the six axes after splitting, from left to right. Where does `c` stand?",
        "Which letter should run fastest inside a patch? It stands at the right end of its "
        "parentheses.",
        "The channel never has to leave its end; only two axes in the middle change places.",
    ),
    solution=patchify_last,
    cases=photographs,
    slips={
        "inside a patch the channel comes first; here it runs fastest: (ph pw c).": cut(
            "b (h ph) (w pw) c -> b (h w) (c ph pw)"
        ),
        "a reshape to (b, c, H, W) moves no channel, it mixes pixels: permute or "
        "rearrange.": viewed_as_first,
        "channels are brought first by a reshape, which mixes pixels, and stay first.": (
            viewed_throughout
        ),
        "pixels are only counted off in their old order: the axes are never moved.": (
            never_moved_last
        ),
        "the patches are numbered column by column: (w h) for (h w)?": cut(
            "b (h ph) (w pw) c -> b (w h) (ph pw c)"
        ),
        "inside a patch pixels run down the columns: (pw ph c) for (ph pw c)?": cut(
            "b (h ph) (w pw) c -> b (h w) (pw ph c)"
        ),
        "each patch collects pixels from all over: (ph h) for (h ph)?": cut(
            "b (ph h) (pw w) c -> b (h w) (ph pw c)"
        ),
    },
    why="Either order trains equally well, but weights know only their own. Who loads the "
    "paper's weights into PyTorch has to reorder the projection once.",
)

# 1.7 There and back, without einops ---------------------------------------------------------


def cuts():
    for words, shape, size in (
        ("a grid of 2 × 2 patches, pixels numbered from 0", (1, 1, 4, 4), 2),
        ("a grid of 2 × 3 patches", (1, 1, 4, 6), 2),
        ("two channels and a grid of 3 × 2 patches", (1, 2, 9, 6), 3),
        ("a batch of 2, three channels, a grid of 5 × 7 patches", (2, 3, 10, 14), 2),
    ):
        grid = shape[2] // size, shape[3] // size
        yield words, (patchify(numbered(*shape), size), size, grid)


def unpatchify(patches, patch_size, grid):
    """(b, h · w, c · p · p) → (b, c, h · p, w · p); the grid is (rows, columns)."""
    rows, columns = grid
    b, p = patches.shape[0], patch_size
    x = patches.reshape(b, rows, columns, -1, p, p)  # b h w c ph pw
    x = x.permute(0, 3, 1, 4, 2, 5)  # b c h ph w pw
    return x.reshape(b, -1, rows * p, columns * p)


def put_back(pattern):
    """An unpatchify with another pattern."""

    def program(patches, patch_size, grid):
        h, w = grid
        return rearrange(patches, pattern, h=h, w=w, ph=patch_size, pw=patch_size)

    return program


def grid_turned(patches, patch_size, grid):
    return unpatchify(patches, patch_size, grid[::-1])


def not_moved_back(patches, patch_size, grid):
    b, p = patches.shape[0], patch_size
    return patches.reshape(b, -1, grid[0] * p, grid[1] * p)


UNPATCHIFY = Task(
    number="1.7",
    title="Back again, without einops",
    text="Put patches of the chapter's order back into pictures with `reshape` and `permute` "
    "alone: no einops. `grid` is `(rows, columns)`; the number of channels follows from the "
    "shapes.",
    minutes=15,
    trains="undoing a permutation of axes",
    section="There and back",
    hints=(
        "Split first: which six axes hide in `(batch, patch, numbers)`? Leave one size to "
        "`reshape`, as -1.",
        "Write the letters of the axes you have, and below them the letters you want.",
        "You have `b h w c ph pw`, and want `b c h ph w pw`: at which position does each "
        "wanted letter stand now?",
    ),
    solution=unpatchify,
    cases=cuts,
    slips={
        "the grid is read as (columns, rows).": grid_turned,
        "reshape alone moves no pixel: patches lie in strips instead of squares.": (
            not_moved_back
        ),
        "the patches are read column by column: h and w swapped when you split?": put_back(
            "b (w h) (c ph pw) -> b c (h ph) (w pw)"
        ),
        "each patch is mirrored along its diagonal: ph and pw swapped?": put_back(
            "b (h w) (c pw ph) -> b c (h ph) (w pw)"
        ),
        "the channel is taken for the fastest number of a patch; it is the slowest.": put_back(
            "b (h w) (ph pw c) -> b c (h ph) (w pw)"
        ),
        "the picture is woven: neighbours of a patch lie far apart, (ph h) for (h ph).": (
            put_back("b (h w) (c ph pw) -> b c (ph h) (pw w)")
        ),
        "height and width have changed places: the picture is mirrored along its "
        "diagonal.": put_back("b (h w) (c ph pw) -> b c (w pw) (h ph)"),
    },
    shortcuts=("einops.rearrange", "vitbook.patches.unpatchify"),
    part="unpatchify",
    why="A permutation of axes is undone by another one, rarely by the same. You need this way "
    "back for every map that is to lie over a picture.",
)

# 1.8 Overlap --------------------------------------------------------------------------------


def windows():
    yield "3 × 3 pixels, windows of 2, steps of 1", (numbered(1, 1, 3, 3), 2, 1)
    yield "5 × 7 pixels, windows of 3, steps of 2", (numbered(1, 1, 5, 7), 3, 2)
    yield "a row of pixels left over", (numbered(1, 1, 6, 7), 3, 2)
    yield "steps as wide as a window", (numbered(1, 2, 4, 6), 2, 2)
    yield "a batch of 2, three channels", (numbered(2, 3, 7, 11), 5, 2)


def overlapping(images, patch_size, stride):
    """(b, c, H, W) → (b, window, c · p · p), windows row by row."""
    p, (height, width) = patch_size, images.shape[2:]
    patches = []
    for top in range(0, height - p + 1, stride):
        for left in range(0, width - p + 1, stride):
            window = images[:, :, top : top + p, left : left + p]
            patches.append(window.flatten(1))
    return torch.stack(patches, dim=1)


def rolled(pattern="b c h w ph pw -> b (h w) (c ph pw)", last=None):
    """Windows by unfolding, with one thing changed."""

    def program(images, patch_size, stride):
        x = images.unfold(2, patch_size, stride).unfold(3, patch_size, stride)
        return rearrange(x[:, :, :last, :last], pattern)

    return program


def whole_steps(images, patch_size, stride):
    return overlapping(images, patch_size, patch_size)


def single_steps(images, patch_size, stride):
    return overlapping(images, patch_size, 1)


def over_the_border(images, patch_size, stride):
    high, wide = (-(-side // stride) * stride - stride for side in images.shape[2:])
    over = [max(0, wide + patch_size - images.shape[3]), 0]
    over[1] = max(0, high + patch_size - images.shape[2])
    padded = F.pad(images, (0, over[0], 0, over[1]))
    return overlapping(padded, patch_size, stride)


def last_forgotten(images, patch_size, stride):
    return overlapping(images[:, :, :-1, :-1], patch_size, stride)


OVERLAP = Task(
    number="1.8",
    title="Patches that overlap",
    text="Cut windows of `patch_size` × `patch_size` pixels that step by `stride` pixels, to "
    "the right and down. Only windows that lie wholly inside the picture count. Order as in "
    "the chapter. `torch.nn.functional.unfold` is off limits; loops are welcome.",
    minutes=15,
    trains="where windows begin, and where the last one does",
    section="By hand, then by loop",
    hints=(
        "In a row of 7 pixels, windows of 3 that step by 2: where do they begin?",
        "The chapter's loop steps by `patch_size`. Which of its numbers is a step, and which a "
        "width?",
        "The last window may begin at `height - patch_size`, and `range` stops before its end.",
    ),
    solution=overlapping,
    cases=windows,
    slips={
        "windows step by their own width; the stride is not used.": whole_steps,
        "windows step by a single pixel; the stride is not used.": single_steps,
        "windows at the far edge are missing: does range stop one too early?": last_forgotten,
        "windows hang over the border and are filled up with zeros; they must lie inside.": (
            over_the_border
        ),
        "the windows are numbered column by column.": rolled(
            "b c h w ph pw -> b (w h) (c ph pw)"
        ),
        "inside a window pixels run down the columns.": rolled(
            "b c h w ph pw -> b (h w) (c pw ph)"
        ),
        "inside a window the channel runs fastest; it should come first.": rolled(
            "b c h w ph pw -> b (h w) (ph pw c)"
        ),
        "windows and their numbers have changed places: swap the last two axes.": rolled(
            "b c h w ph pw -> b (c ph pw) (h w)"
        ),
    },
    shortcuts=("torch.nn.functional.unfold", "torch.nn.Unfold.forward"),
    why="A convolution whose stride is smaller than its kernel does this. Halve the stride, "
    "and you have about four times the tokens; the pixels are no more than before.",
)

# 1.9 How many? ------------------------------------------------------------------------------


def sizes():
    yield "4 × 4 pixels, patches of 2, steps of 2", (4, 4, 2, 2)
    yield "5 × 7 pixels, windows of 3, steps of 2", (5, 7, 3, 2)
    yield "3 × 4 pixels, windows of 2, steps of 1", (3, 4, 2, 1)
    yield "a photograph of 224 × 160 pixels, patches of 16", (224, 160, 16, 16)
    yield "32 × 48 pixels, windows of 7, steps of 3", (32, 48, 7, 3)


def count(height, width, patch_size, stride):
    """How many windows fit into a picture, and how many pairs they make."""
    rows = (height - patch_size) // stride + 1
    columns = (width - patch_size) // stride + 1
    tokens = rows * columns
    return tokens, tokens**2


def fitted(along, pairs=lambda n: n**2, square=False):
    """A count with one thing changed; ``along`` counts the windows of one side."""

    def program(height, width, patch_size, stride):
        n = along(height, patch_size, stride)
        n *= along(height if square else width, patch_size, stride)
        return n, pairs(n)

    return program


def fit(side, p, stride):
    return (side - p) // stride + 1


COUNT = Task(
    number="1.9",
    title="How many tokens, how many pairs?",
    text="Derive it, then write it: how many windows of `patch_size` that step by `stride` lie "
    "wholly inside a picture, and how many pairs do they make, as the chapter counts pairs? "
    "Give back `(tokens, pairs)`.",
    minutes=10,
    trains="the arithmetic of every convolution",
    section="How large should a patch be?",
    hints=(
        "Take one row of pixels. The first window begins at 0; the last may begin where?",
        "How often does a step fit between the first and the last beginning? How many windows "
        "are that?",
        "Three steps make four windows. Every token meets every token, itself included.",
    ),
    solution=count,
    cases=sizes,
    slips={
        "the number of steps is counted; there is one window more than steps.": fitted(
            lambda side, p, stride: (side - p) // stride
        ),
        "side / stride counts windows that hang over the border, too.": fitted(
            lambda side, p, stride: side // stride
        ),
        "side / patch_size is right without overlap only; steps have the width `stride`.": (
            fitted(lambda side, p, stride: side // p)
        ),
        "the picture is taken for a square: rows from the height, columns from the width.": (
            fitted(fit, square=True)
        ),
        "each pair is counted once; here a looks at b, and b at a: two pairs.": fitted(
            fit, lambda n: n * (n - 1) // 2
        ),
        "each pair is counted once; here each token meets every token, both ways.": fitted(
            fit, lambda n: n * (n + 1) // 2
        ),
        "a token meets itself, too: n · n pairs, not n · (n - 1).": fitted(
            fit, lambda n: n * (n - 1)
        ),
        "pairs grow with the square of the tokens, not with twice their number.": fitted(
            fit, lambda n: 2 * n
        ),
    },
    why="(side - kernel) / stride + 1, rounded down: the formula on the page of every "
    "convolution. With the stride equal to the patch it becomes side / patch.",
)

# 1.10 A planted bug -------------------------------------------------------------------------


def kernels():
    yield (
        "one patch of 2 × 2 pixels and one kernel",
        (numbered(1, 1, 2, 2), numbered(1, 1, 2, 2)),
    )
    yield "a grid of 2 × 3 patches", (pencil(1, 1, 4, 6), pencil(3, 1, 2, 2))
    yield "three channels", (pencil(2, 3, 10, 15), pencil(7, 3, 5, 5))


def project(images, kernel):
    """(b, c, H, W), (dim, c, p, p) → (b, patch, dim), as a convolution of stride p gives."""
    b, c, height, width = images.shape
    dim, _, p, _ = kernel.shape
    x = images.reshape(b, c, height // p, p, width // p, p)
    x = x.permute(0, 2, 4, 1, 3, 5)
    return x.reshape(b, -1, c * p * p) @ kernel.reshape(dim, -1).T


def multiplied(*order, flip=()):
    """The program with another order of axes."""

    def program(images, kernel):
        b, c, height, width = images.shape
        dim, _, p, _ = kernel.shape
        x = images.reshape(b, c, height // p, p, width // p, p).permute(order)
        matrix = kernel.flip(flip).reshape(dim, -1)
        return x.reshape(b, -1, c * p * p) @ matrix.T

    return program


BUG = Task(
    number="1.10",
    title="A planted bug: the round trip that proves nothing",
    text="""This program is to do what a convolution with this kernel and stride p does. Its \
author tested the cut with a way back that he wrote himself, and every pixel came home. Still \
the tokens are wrong. Find the mistake, and write the program as it should be.

```python
def project(images, kernel):
    b, c, height, width = images.shape
    dim, _, p, _ = kernel.shape
    x = images.reshape(b, c, height // p, p, width // p, p)
    x = x.permute(0, 2, 4, 1, 5, 3)
    return x.reshape(b, -1, c * p * p) @ kernel.reshape(dim, -1).T
```""",
    minutes=10,
    trains="seeing a wrong order that no shape and no round trip shows",
    section="Cutting and projecting is a convolution",
    hints=(
        "Write the letters of the six axes before and after `permute`.",
        "In which order does `kernel.reshape(dim, -1)` read the numbers of a kernel?",
        "The numbers of a patch must run in the kernel's order: channel, row, column.",
    ),
    solution=project,
    cases=kernels,
    slips={
        "inside a patch pixels still run down the columns, (c pw ph); the kernel's run along "
        "the rows.": multiplied(0, 2, 4, 1, 5, 3),
        "now the patches are numbered column by column; the mistake is inside a patch.": (
            multiplied(0, 4, 2, 1, 5, 3)
        ),
        "the inside of a patch is right now, but the grid runs down the columns.": multiplied(
            0, 4, 2, 1, 3, 5
        ),
        "now the channel runs fastest inside a patch; in the kernel it comes first.": (
            multiplied(0, 2, 4, 3, 5, 1)
        ),
        "the kernel is turned around; PyTorch's convolution does not flip it.": multiplied(
            0, 2, 4, 1, 3, 5, flip=(2, 3)
        ),
    },
    why="A round trip shows that nothing is lost, not that anything is in its place: the same "
    "mistake on the way back hides it. Compare with something you did not write.",
)

# 1.11 Neighbours, up and down ---------------------------------------------------------------


def neighbourhoods():
    ramp = torch.tensor([0, 1, 3, 6, 10, 15.0, 21, 28], dtype=torch.float64)
    yield (
        "4 × 4 pixels, the same number along a row",
        (ramp[:4].reshape(1, 1, 4, 1).expand(1, 1, 4, 4).clone(), 2),
    )
    yield "6 × 4 pixels", (pencil(1, 1, 6, 4), 2)
    yield "a batch of 2, three channels", (pencil(2, 3, 15, 10), 5)


def vertical_differences(images, patch_size):
    """Mean difference of a pixel and the one below: (inside patches, across borders)."""
    difference = (images[:, :, 1:] - images[:, :, :-1]).abs().mean(dim=(0, 1, 3))
    upper = torch.arange(len(difference))
    across = upper % patch_size == patch_size - 1
    return difference[~across].mean().item(), difference[across].mean().item()


def differing(axis=2, border=-1, size=torch.abs, swap=False):
    """The measure with one thing changed."""

    def program(images, patch_size):
        n = images.shape[axis]
        x = size(images.narrow(axis, 1, n - 1) - images.narrow(axis, 0, n - 1))
        x = x.transpose(0, axis).flatten(1).mean(1)
        across = torch.arange(len(x)) % patch_size == border % patch_size
        pair = x[~across].mean().item(), x[across].mean().item()
        return pair[::-1] if swap else pair

    return program


NEIGHBOURS = Task(
    number="1.11",
    title="Neighbours, up and down",
    text="The chapter compares each pixel with its right neighbour. Compare each with the one "
    "*below*: give back the mean absolute difference of the pairs inside a patch, and of those "
    "across a border, as two plain numbers.",
    minutes=10,
    trains="slices along an axis, and which pairs a border parts",
    section="What shuffling destroys, and what it doesn't",
    hints=(
        "On which axis do rows stand, and what does a slice along it look like?",
        "The difference at place k belongs to rows k and k + 1. For which k does a border lie "
        "between?",
        "Average over all axes but the rows; `.item()` makes a plain number of a tensor.",
    ),
    solution=vertical_differences,
    cases=neighbourhoods,
    slips={
        "these are neighbours to the right; rows stand on the axis before.": differing(axis=3),
        "the border is off by one: it lies *behind* the last row of a patch.": differing(
            border=0
        ),
        "inside and across have changed places.": differing(swap=True),
        "ups and downs cancel: the absolute value is missing.": differing(size=lambda x: x),
        "the differences are squared; their size is asked for.": differing(size=torch.square),
    },
    why="On the cat the two numbers are about equal in order, and apart once shuffled. Such a "
    "measure, not the eye, tells whether a cut was put back rightly.",
)

# 1.12 and 1.13 Numbers ----------------------------------------------------------------------

FINER = Question(
    number="1.12",
    title="More pixels, the same patches",
    text="ViT-B/16 is often trained on pictures of 224 × 224 pixels and fine-tuned at 384 × "
    "384, with the same patches of 16 × 16. How many times as many pairs does attention have "
    "then? Predict it without counting pairs; two digits behind the point are enough. "
    "Count patches only.",
    minutes=3,
    trains="what grows with which power",
    section="How large should a patch be?",
    hints=(
        "By which factor does the side grow?",
        "With which power of the side does the number of patches grow?",
        "And with which power of the number of patches does the number of pairs grow?",
    ),
    answer=(384 / 224) ** 4,
    slips={
        "That is how much longer a side is.": 384 / 224,
        "That is how many times as many patches; pairs go with their square.": (384 / 224) ** 2,
        "A picture has two sides, and a pair two tokens: four factors, not three.": (
            (384 / 224) ** 3
        ),
        "That is how many pairs there are; how many times as many is asked for.": 576**2,
        "That is the other way round: it should grow.": (224 / 384) ** 4,
    },
    solution="before, after = (224 // 16) ** 2, (384 // 16) ** 2\nafter**2 / before**2",
    why="The fourth power of the side. It is why fine-tuning at a higher resolution is kept "
    "short.",
)

SHUFFLED = Question(
    number="1.13",
    title="Change one thing: larger pieces",
    text="The chapter shuffles the cat in patches of 4 × 4 and finds that right neighbours "
    "*across borders* then differ by about 0.12. Shuffle patches of 8 × 8 instead, and take "
    "the mean difference of *all* right neighbours, inside and across together. What do you "
    "get, averaged over ten shuffles? Guess first, from the numbers that the chapter prints; "
    "then measure with its loop, on its cat of 32 × 32, "
    '`photograph("chelsea", size=32)[None] / 255`. Two digits are enough.',
    minutes=15,
    trains="changing one thing, and asking what else changed with it",
    section="What shuffling destroys, and what it doesn't",
    hints=(
        "In order, all right neighbours differ by about 0.058. Which of them does a shuffle "
        "leave alone?",
        "Of 31 pairs in a row of pixels, how many cross a border of patches of 8?",
        "Take the chapter's loop over ten seeds, with patches of 8 and a grid of 4 × 4, and "
        "average over everything.",
    ),
    answer=0.063,
    slips={
        "That is the cat in order: shuffled, the borders add to it.": 0.058,
        "That is across borders alone; the pairs inside count, too.": 0.117,
        "That is across borders of patches of 4; here they are of 8, and all pairs count.": (
            0.123
        ),
        "That is with patches of 4: larger ones have fewer borders.": 0.073,
        "That is the plain mean of inside and across, but few pairs cross a border.": 0.086,
    },
    solution="""from vitbook import patchify, unpatchify
from vitbook.data import photograph

images = photograph("chelsea", size=32)[None] / 255
means = []
for seed in range(10):
    dice = torch.Generator().manual_seed(seed)
    order = torch.randperm(16, generator=dice)
    mixed = unpatchify(patchify(images, 8)[:, order], 8, grid=(4, 4))
    means.append((mixed[..., 1:] - mixed[..., :-1]).abs().mean().item())
sum(means) / 10""",
    within=0.03,
    why="Only 3 of 31 pairs in a row cross a border, so most of the cat stays as it was. The "
    "larger the patches, the less there is for a model to put in order.",
)

# 1.14 Larger patches out of small ones ------------------------------------------------------


def small_patches():
    for words, shape, size in (
        ("a grid of 2 × 2 patches, pixels numbered from 0", (1, 1, 4, 4), 2),
        ("a grid of 2 × 6 patches", (1, 1, 4, 12), 2),
        ("a batch of 2, two channels, a grid of 6 × 10 patches", (2, 2, 18, 30), 3),
    ):
        grid = shape[2] // size, shape[3] // size
        yield words, (patchify(numbered(*shape), size), size, grid)


def merge_patches(patches, patch_size, grid):
    """(b, h · w, c · p · p) → (b, h/2 · w/2, c · 2p · 2p): four patches become one."""
    pattern = "b (h two w too) (c ph pw) -> b (h w) (c two ph too pw)"
    sizes = {"h": grid[0] // 2, "w": grid[1] // 2, "ph": patch_size, "pw": patch_size}
    return rearrange(patches, pattern, two=2, too=2, **sizes)


def merged(pattern):
    """A merge with another pattern."""

    def program(patches, patch_size, grid):
        sizes = {"h": grid[0] // 2, "w": grid[1] // 2, "ph": patch_size, "pw": patch_size}
        return rearrange(patches, pattern, two=2, too=2, **sizes)

    return program


def averaged(patches, patch_size, grid):
    h, w = grid[0] // 2, grid[1] // 2
    return rearrange(
        patches, "b (h two w too) d -> b (h w) (two too) d", h=h, w=w, two=2, too=2
    ).mean(dim=2)


def next_in_line(patches, patch_size, grid):
    b, n, d = patches.shape
    return patches.reshape(b, n // 4, 4 * d)


def grid_turned_before_merging(patches, patch_size, grid):
    return merge_patches(patches, patch_size, grid[::-1])


MERGE = Task(
    number="1.14",
    title="Four patches become one",
    text="You have only the patches, not the picture. Make of every 2 × 2 neighbouring patches "
    "one that is twice as high and twice as wide, exactly what `patchify` with twice the patch "
    "size would give. `grid` is the (rows, columns) of the small patches, both even.",
    minutes=30,
    trains="splitting and regrouping with eight axes",
    section="Without loops: split the axes, then regroup",
    hints=(
        "A way over the picture is allowed: put the patches back, and cut anew. Can it be "
        "done at once?",
        "The row of a patch splits in two: which pair of rows, and which of the two. So does "
        "its column.",
        "A pixel's row in the large patch: first which of the two small patches, then the row "
        "inside it.",
    ),
    solution=merge_patches,
    cases=small_patches,
    slips={
        "four patches lie one behind the other; the rows of the large one run through two of "
        "them.": merged("b (h two w too) (c ph pw) -> b (h w) (two too c ph pw)"),
        "four patches lie one behind the other inside each channel; rows should run through "
        "two.": merged("b (h two w too) (c ph pw) -> b (h w) (c two too ph pw)"),
        "four that follow each other in the sequence are joined; two of them lie a row "
        "below.": next_in_line,
        "pixels alternate between small patches: (ph two) for (two ph)?": merged(
            "b (h two w too) (c ph pw) -> b (h w) (c ph two pw too)"
        ),
        "right and below have changed places among the four.": merged(
            "b (h two w too) (c ph pw) -> b (h w) (c too ph two pw)"
        ),
        "patches from distant halves are joined: neighbours are wanted.": merged(
            "b (two h too w) (c ph pw) -> b (h w) (c two ph too pw)"
        ),
        "the four are averaged; all their numbers are to be kept.": averaged,
        "the grid is read as (columns, rows).": grid_turned_before_merging,
    },
    why="Swin Transformers merge tokens like this between their stages. There the four simply "
    "lie one behind the other, as a learned matrix follows.",
)

# 1.15 An evening: the jigsaw ----------------------------------------------------------------


def puzzles():
    place = numbered(1, 6, 6)[0]
    smooth = (place % 6 + 10 * (place // 6))[None]
    for words, picture, side, order in (
        ("a 2 × 2 puzzle of a smooth picture", smooth[:, :4, :4], 2, [0, 2, 3, 1]),
        ("a 3 × 3 puzzle", smooth + noise(1, 6, 6) * 9, 2, [0, 5, 7, 2, 8, 4, 1, 3, 6]),
        ("pieces of pure noise, 2 × 5", noise(3, 6, 15), 3, [0, *range(9, 0, -1)]),
        ("pieces of pure noise, 5 × 2", noise(3, 15, 6), 3, [0, 3, 6, 9, 2, 5, 8, 1, 4, 7]),
    ):
        grid = picture.shape[1] // side, picture.shape[2] // side
        pieces = rearrange(picture, "c (h p) (w q) -> (h w) c p q", p=side, q=side)
        yield words, (pieces[order], grid)


def noise(*shape):
    dice = torch.Generator().manual_seed(sum(shape))
    return torch.rand(shape, generator=dice, dtype=torch.float64)


def jigsaw(pieces, grid):
    """(piece, c, p, p) → a list: for each place, row by row, the number of its piece.

    Piece 0 lies at the top left. Each next place takes, of the pieces left, the one that fits
    best: smallest sum of absolute differences along its borders with what lies there already.
    """
    rows, columns = grid
    order = [0]
    for place in range(1, rows * columns):
        row, column = divmod(place, columns)
        misfits = {}
        for k in set(range(rows * columns)) - set(order):
            misfits[k] = 0
            if column:
                left = pieces[order[place - 1]]
                misfits[k] += (left[:, :, -1] - pieces[k][:, :, 0]).abs().sum()
            if row:
                above = pieces[order[place - columns]]
                misfits[k] += (above[:, -1] - pieces[k][:, 0]).abs().sum()
        order.append(min(misfits, key=misfits.get))
    return order


def laid(left=(-1, 0), above=(-1, 0), size=torch.abs, again=False, weight=(1, 1)):
    """A jigsaw with one thing changed: which edges meet, how, and what may be used."""

    def program(pieces, grid):
        rows, columns = grid
        order = [0]
        for place in range(1, rows * columns):
            misfit = torch.zeros(len(pieces), dtype=pieces.dtype)
            if place % columns:
                there = pieces[order[-1]][:, :, left[0]]
                misfit += weight[0] * size(there - pieces[:, :, :, left[1]]).sum(dim=(1, 2))
            if place >= columns:
                there = pieces[order[place - columns]][:, above[0]]
                misfit += weight[1] * size(there - pieces[:, :, above[1]]).sum(dim=(1, 2))
            used = order[-1:] if again else order
            misfit[used] = torch.inf
            order.append(misfit.argmin().item())
        return order

    return program


def places_of_pieces(pieces, grid):
    order = jigsaw(pieces, grid)
    return sorted(range(len(order)), key=order.__getitem__)


JIGSAW = Task(
    number="1.15",
    title="An evening: the jigsaw",
    text="Shuffled patches still have their borders. Lay them like a jigsaw, row by row. Piece "
    "0 lies at the top left. Each next place takes, of the pieces not yet laid, the one with "
    "the smallest sum of absolute differences along the borders that touch: its left column "
    "against the right column of the piece on its left, its top row against the bottom row of "
    "the piece above. Give back a list: for each place the number of its piece.\n\n"
    'Then try it on the cat, `images = photograph("chelsea", size=32)[None] / 255` with '
    "`photograph` of `vitbook.data`. Her pieces are `patchify(images, p)[0].reshape(-1, 3, p, "
    "p)`, a row for each place. Shuffle all but the first, lay them, and put them back with "
    "`unpatchify`. For which patch size do you get her back?",
    minutes=90,
    trains="turning a description into loops, edge by edge",
    section="What shuffling destroys, and what it doesn't",
    hints=(
        "Which pieces may still be laid at a place, and what has each of them to be compared "
        "with?",
        "Place k has a left neighbour unless it stands in column 0, and one above unless it "
        "stands in row 0: `divmod(k, columns)` tells.",
        "For every piece left, add up the misfits of one or two borders; take the smallest, "
        "append it, go on.",
    ),
    solution=jigsaw,
    cases=puzzles,
    slips={
        "only the piece on the left is asked; the one above has a border, too.": laid(
            weight=(1, 0)
        ),
        "only the piece above is asked; the one on the left has a border, too.": laid(
            weight=(0, 1)
        ),
        "a piece is laid more than once: take those only that are left.": laid(again=True),
        "the wrong columns are compared: right column there, left column here.": laid(
            left=(0, -1)
        ),
        "the wrong rows are compared: bottom row there, top row here.": laid(above=(0, -1)),
        "left is compared with left and top with top; opposite edges touch.": laid(
            left=(0, 0), above=(0, 0)
        ),
        "the differences are squared; their size is asked for.": laid(size=torch.square),
        "differences of both signs cancel: the absolute value is missing.": laid(
            size=lambda x: x
        ),
        "for each piece you give its place; asked is for each place its piece.": (
            places_of_pieces
        ),
    },
    why="So shuffled patches still hint at what lay beside them, by their borders, and people "
    "trained networks on such puzzles. Chapter 2 shows that a model without positions can't "
    "use a bit of it.",
)

TASKS = (
    PATCHIFY,
    CHANNELS_LAST,
    UNPATCHIFY,
    OVERLAP,
    COUNT,
    BUG,
    NEIGHBOURS,
    FINER,
    SHUFFLED,
    MERGE,
    JIGSAW,
)
