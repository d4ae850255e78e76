"""Tasks of chapter 5: the loss, the optimizer, the schedule, and how to go on."""

import copy
import math
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

from vitbook.data import normalize
from vitbook.exercises.task import Question, Task, pencil

# 5.5 The loss -------------------------------------------------------------------------------


def cross_entropy(logits, labels, smoothing=0.0):
    """Cross-entropy with label smoothing, the mean over the batch.

    (image, class) and (image,) → one number, as a tensor.
    """
    logs = logits - logits.logsumexp(dim=1, keepdim=True)
    of_label = logs[torch.arange(len(labels)), labels]
    return -((1 - smoothing) * of_label + smoothing * logs.mean(dim=1)).mean()


def marked():
    yield "one picture and two classes", (torch.tensor([[1.0, 0.0]]).double(), one(0), 0.0)
    yield "one picture, smoothing 0.3", (pencil(1, 3), torch.tensor([1]), 0.3)
    yield "5 pictures of 3 classes", (pencil(5, 3), torch.tensor([2, 0, 1, 0, 2]), 0.2)
    large = (400 * pencil(3, 5), torch.tensor([0, 4, 2]), 0.1)
    yield "logits of some hundreds", large


def one(label):
    return torch.tensor([label])


def targeted(targets=None, logs=torch.log_softmax, reduce=torch.mean):
    """A cross-entropy against targets (image, class), with one thing changed."""

    def program(logits, labels, smoothing=0.0):
        classes = logits.shape[1]
        right = F.one_hot(labels, classes).to(logits)
        made = (targets or smoothed)(right, smoothing, classes)
        return -reduce((made * logs(logits, 1)).sum(dim=1))

    return program


def smoothed(right, smoothing, classes):
    return (1 - smoothing) * right + smoothing / classes


def of_all(logits, labels, smoothing=0.0):
    return cross_entropy(logits, labels, smoothing) / logits.shape[1]


def turned_sign(logits, labels, smoothing=0.0):
    return -cross_entropy(logits, labels, smoothing)


LOSS = Task(
    number="5.5",
    title="The loss, with smoothing",
    text="Write cross-entropy with label smoothing: the target is 1 − ε for the right class, "
    "and ε is spread over *all* K classes, the right one included. Minus the targets times the "
    "logarithms of the probabilities, added over the classes, averaged over the pictures. "
    "Logits may be large: 800 must not make `inf`.",
    minutes=15,
    trains="the formula that every gradient of this chapter starts from",
    section="The loop",
    hints=(
        "What are the targets of a picture, class by class, if ε = 0.1 and K = 10? Do they sum "
        "to one?",
        "The logarithm of a probability need not be taken of a probability: "
        "log softmax(x) = x − log Σ eˣ, and `logsumexp` is safe.",
        "Two parts: (1 − ε) times the right class's logarithm, and ε times the mean of all.",
    ),
    solution=cross_entropy,
    cases=marked,
    slips={
        "the smoothing changes nothing: ε is not used.": targeted(lambda r, s, k: r),
        "ε is spread over the wrong classes only; the right one gets its ε / K, too.": targeted(
            lambda r, s, k: (1 - s) * r + s / (k - 1) * (1 - r)
        ),
        "the targets do not sum to one: the right class is asked for 1 − ε + ε / K.": targeted(
            lambda r, s, k: (1 - s) * r + s / k * (1 - r)
        ),
        "every wrong class is asked for ε, where all share it: ε / K for each.": targeted(
            lambda r, s, k: (1 - s) * r + s
        ),
        "the losses of the pictures are added; their mean is asked for.": targeted(
            reduce=torch.sum
        ),
        "it is divided by the number of classes as well: a mean over both axes?": of_all,
        "softmax taken twice: the logarithm must be that of softmax(logits).": targeted(
            logs=lambda x, dim: x.softmax(dim).log_softmax(dim)
        ),
        "there is no logarithm: minus the probability is no cross-entropy.": targeted(
            logs=torch.softmax
        ),
        "the sign is turned: a logarithm of a probability is negative, a loss is not.": (
            turned_sign
        ),
        "the probabilities sum to one over the pictures, not over the classes: which axis?": (
            targeted(logs=lambda x, dim: x.log_softmax(0))
        ),
        "the logarithm is that to base 2; the natural one is asked for.": targeted(
            logs=lambda x, dim: x.log_softmax(dim) / math.log(2)
        ),
        "large logits give inf or nan: a probability became 0 before its logarithm was "
        "taken.": (targeted(logs=lambda x, dim: x.softmax(dim).log())),
    },
    why="One part pulls towards the label, the other towards saying nothing. ε weighs "
    "them, and the second keeps logits from growing without end.",
    shortcuts=("torch.nn.functional.cross_entropy",),
    part="loss",
)

# 5.6 Parameter groups -----------------------------------------------------------------------


def parameter_groups(model, weight_decay):
    """Two groups for AdamW: those that are decayed, then those that are spared."""
    decayed, spared = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            free = name.endswith(("position", "class_token")) or parameter.ndim < 2
            (spared if free else decayed).append(parameter)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]


class Parts(nn.Module):
    """A model as far as names and shapes go; on no device, so nothing is drawn."""

    def __init__(self, frozen=(), **parts):
        super().__init__()
        for name, part in parts.items():
            if isinstance(part, tuple):
                part = nn.Parameter(torch.empty(part, device="meta"))
            setattr(self, name, part)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name not in frozen)


def networks():
    meta = {"device": "meta"}
    yield "one linear layer", (Parts(head=nn.Linear(3, 2, **meta)), 0.5)
    yield "a norm", (Parts(norm=nn.LayerNorm(5, **meta), out=nn.Linear(5, 3, **meta)), 0.25)
    still = Parts(["out.weight"], out=nn.Linear(3, 5, **meta), head=nn.Linear(5, 2, **meta))
    yield "a weight that is not trained", (still, 0.25)
    kernel = Parts(stem=nn.Conv2d(3, 5, 2, **meta), head=nn.Linear(5, 2, **meta))
    yield "a convolution", (kernel, 0.5)
    table = Parts(position=(7, 5), class_token=(1, 1, 5), head=nn.Linear(5, 3, **meta))
    yield "a table of positions and a class token", (table, 0.5)


def decays(answer, model, weight_decay):
    """What becomes of every parameter, in words."""
    groups = answer(model, weight_decay)
    if groups is None:
        return None
    found = {}
    for name, parameter in model.named_parameters():
        own = [g["weight_decay"] for g in groups if any(parameter is p for p in g["params"])]
        found[name] = " and ".join(f"decay {decay:g}" for decay in own) or "in no group"
    return found


def grouped(decayed, trained=lambda p: p.requires_grad, spared=True):
    """Groups by a rule (name, parameter) → whether it is decayed."""

    def program(model, weight_decay):
        named = [(n, p) for n, p in model.named_parameters() if trained(p)]
        first = [p for n, p in named if decayed(n, p)]
        rest = [p for n, p in named if not decayed(n, p)]
        groups = [{"params": first, "weight_decay": weight_decay}]
        return groups + [{"params": rest, "weight_decay": 0.0}] * spared

    return program


def by_rule(name, parameter):
    return parameter.ndim > 1 and not name.endswith(("position", "class_token"))


GROUPS = Task(
    number="5.6",
    title="Who is decayed, in any network",
    text="The chapter's rule, *two axes*, knows no convolutions, and would decay a table of "
    "positions of two axes. Write one that does: decayed is what has two axes or more, unless "
    "its name ends in `position` or `class_token`. What is not trained stays out of both "
    "groups. Give back the decayed group first, as the chapter does.",
    minutes=10,
    trains="`named_parameters`, and what an optimizer is given",
    section="Who is decayed, and who is not",
    hints=(
        "Which parameters of a convolution, a linear layer and a norm have two axes or more?",
        "`model.named_parameters()` gives (name, parameter); names are paths with dots.",
        '`name.endswith(("position", "class_token"))` asks for both endings at once. Each '
        "parameter that is trained goes into exactly one list.",
    ),
    solution=parameter_groups,
    cases=networks,
    run=decays,
    slips={
        "a bias or a norm is decayed: is anything asked about the number of axes?": grouped(
            lambda n, p: not n.endswith(("position", "class_token"))
        ),
        "norms have a `weight` too, with one axis, and it is spared: go by axes, not by that "
        "name.": grouped(lambda n, p: n.endswith("weight")),
        "what is not trained is in a group: ask for `requires_grad`.": grouped(
            by_rule, lambda p: True
        ),
        "a convolution's kernel has four axes and is decayed here: two axes *or "
        "more*.": grouped(lambda n, p: p.ndim == 2 and by_rule(n, p)),
        "positions or class token are decayed: their names are to be asked as well.": grouped(
            lambda n, p: p.ndim > 1
        ),
        "this is the chapter's rule; a kernel has four axes, and a table of positions may have "
        "two.": grouped(lambda n, p: p.ndim == 2),
        "the two groups have changed places: matrices are decayed.": grouped(
            lambda n, p: not by_rule(n, p)
        ),
        "what is not decayed is in no group: it would never be trained.": grouped(
            by_rule, spared=False
        ),
    },
    why="A parameter that is in no group is never moved, and no error tells you. Count the "
    "numbers in both groups, as the chapter does.",
    part="parameter_groups",
)

# 5.7 The schedule ---------------------------------------------------------------------------


def learning_rate(step, steps, peak, warmup, floor=0.0):
    """The rate of a step, counted from 0: up to the peak, then down towards the floor."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        return peak * (step + 1) / rising
    done = (step - rising) / max(1, steps - rising)
    return floor + (peak - floor) * (1 + math.cos(math.pi * done)) / 2


def plans():
    yield "4 steps, half of them warm-up, no floor", (4, 2.0, 0.5, 0.0)
    yield "5 steps, a fifth of them warm-up, floor 1", (5, 3.0, 0.2, 1.0)
    yield "3 steps without warm-up", (3, 2.0, 0.0, 0.5)
    yield "23 steps", (23, 5.0, 0.3, 0.25)


def whole_plan(answer, steps, peak, warmup, floor):
    """The rates of all steps."""
    rates = [answer(step, steps, peak, warmup, floor) for step in range(steps)]
    return None if None in rates else torch.tensor([float(rate) for rate in rates]).double()


def planned(up=None, down=None, rising=None, done=None):
    """A schedule with one thing changed."""

    def program(step, steps, peak, warmup, floor=0.0):
        first = (rising or (lambda w, n: max(1, round(w * n))))(warmup, steps)
        if step < first:
            return (up or (lambda s, r, p, f: p * (s + 1) / r))(step, first, peak, floor)
        share = (step - first) / max(1, steps - first)
        share = done(step, steps, first) if done else share
        half = (1 + math.cos(math.pi * share)) / 2
        return (down or (lambda p, f, h, t: f + (p - f) * h))(peak, floor, half, share)

    return program


SCHEDULE = Task(
    number="5.7",
    title="A schedule with a floor",
    text="Write the chapter's schedule with one change: after the warm-up it falls along half "
    "a cosine towards `floor`, not towards zero. The warm-up is as it was: a straight line, "
    "the peak in its last step, one step at least. Steps count from 0. At `step == steps`, "
    "which never comes, the rate would be the floor.",
    minutes=10,
    trains="off-by-one errors, and where they hide",
    section="Warm up, then cool down",
    hints=(
        "What should the first step's rate be, and the last one's of the warm-up? Count on "
        "your fingers for two steps of warm-up.",
        "A half cosine falls from 1 to 0: (1 + cos(π · done)) / 2, where `done` runs from 0 to "
        "1 *after* the warm-up.",
        "To fall from one value to another, multiply by their difference, and add the lower.",
    ),
    solution=learning_rate,
    cases=plans,
    run=whole_plan,
    slips={
        "there is no warm-up.": planned(rising=lambda w, n: 0),
        "the first rate is 0: the first step is wasted. Count step + 1.": planned(
            up=lambda s, r, p, f: p * s / r
        ),
        "the warm-up starts at the floor; it starts near 0.": planned(
            up=lambda s, r, p, f: f + (p - f) * (s + 1) / r
        ),
        "the warm-up is rounded down to no step at all: one step at least.": planned(
            rising=lambda w, n: round(w * n)
        ),
        "the cosine has begun already when the warm-up ends: it runs over the steps that are "
        "left.": planned(done=lambda s, n, r: s / n),
        "the cosine starts when the warm-up ends but is too slow: divide by the steps that "
        "are left.": planned(done=lambda s, n, r: (s - r) / n),
        "it reaches the floor one step early: at `step == steps` the rate would be the "
        "floor.": planned(done=lambda s, n, r: (s - r) / max(1, n - r - 1)),
        "a whole cosine goes down and up again; half of one is asked for.": planned(
            down=lambda p, f, h, t: f + (p - f) * (1 + math.cos(2 * math.pi * t)) / 2
        ),
        "it falls in a straight line.": planned(down=lambda p, f, h, t: f + (p - f) * (1 - t)),
        "the floor is added on top: the fall is from peak to floor, (peak − floor) high.": (
            planned(down=lambda p, f, h, t: f + p * h)
        ),
        "the fall is cut off at the floor; it should bend towards it.": planned(
            down=lambda p, f, h, t: max(f, p * h)
        ),
        "it falls to zero: the floor is not used.": planned(down=lambda p, f, h, t: p * h),
        "1 + cos runs from 2 to 0: a half is missing.": planned(
            down=lambda p, f, h, t: f + (p - f) * 2 * h
        ),
    },
    why="Every schedule in use is a straight line up and some line down; only the second line "
    "differs. Draw it before you train with it.",
    shortcuts=("vitbook.training.learning_rate",),
    part="schedule",
)

# 5.8 A crop ---------------------------------------------------------------------------------


def crop(images, padding, top, left):
    """Each picture, padded by its own edge and cut out again at its own place.

    (image, channel, height, width), and top and left of each: (image,), from 0 to 2 · padding.
    """
    b, _, h, w = images.shape
    rows = (top[:, None] - padding + torch.arange(h)).clamp(0, h - 1)
    columns = (left[:, None] - padding + torch.arange(w)).clamp(0, w - 1)
    image = torch.arange(b)[:, None, None]
    moved = images.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def pictures():
    yield "one row of 3, padding 1", (pencil(1, 1, 1, 3), 1, one(1), one(2))
    yield "one picture, moved along its columns", (pencil(1, 1, 5, 3), 2, one(4), one(2))
    yield "one picture, moved in both", (pencil(1, 2, 5, 7), 2, one(0), one(3))
    yield (
        "3 pictures",
        (pencil(3, 2, 5, 7), 2, torch.tensor([1, 4, 2]), torch.tensor([3, 0, 4])),
    )


def cropped(pad="replicate", at=lambda y, x, p: (y, x), roll=False, swap=False):
    """A crop, picture by picture, with one thing changed."""

    def program(images, padding, top, left):
        h, w = images.shape[2:]
        found = []
        for image, y, x in zip(images, top.tolist(), left.tolist(), strict=True):
            if swap:
                y, x = x, y
            y, x = at(y, x, padding)
            if roll:
                found.append(image.roll((padding - y, padding - x), (1, 2)))
                continue
            padded = F.pad(image[None], [padding] * 4, mode=pad)[0]
            found.append(padded[:, y : y + h, x : x + w])
        return torch.stack(found)

    return program


def all_alike(images, padding, top, left):
    return crop(images, padding, top[:1].expand_as(top), left[:1].expand_as(left))


def whole_padded(images, padding, top, left):
    return F.pad(images, [padding] * 4, mode="replicate")


CROP = Task(
    number="5.8",
    title="A crop that repeats the edge",
    text="The chapter pads with black. In a photograph that makes black bars. Write a crop "
    "that pads by repeating the outermost pixels instead. `top` and `left`, of each picture "
    "its own, are given: (1, 1) with a padding of 1 gives the picture back.",
    minutes=20,
    trains="picking with tensors of indices",
    section="More data than there is",
    hints=(
        "With a padding of 1 and top = 0, which row of the picture stands in the first row of "
        "the crop? And in the second?",
        "You need not pad: an index below 0 becomes 0, one beyond the last becomes the last.",
        "Rows (image, height) = top − padding + 0, 1, 2, …, clamped; columns alike. Then pick "
        "with three index tensors at once, the channels moved to the end.",
    ),
    solution=crop,
    cases=pictures,
    slips={
        "the border is black; the edge should be repeated.": cropped("constant"),
        "the border is a mirror; the edge should be repeated.": cropped("reflect"),
        "what leaves on one side comes in on the other: a roll is no crop.": cropped(roll=True),
        "top and left have changed places.": cropped(swap=True),
        "it moves the wrong way: top = 0 shows the padding above, so the picture moves down.": (
            cropped(at=lambda y, x, p: (2 * p - y, 2 * p - x))
        ),
        "every picture is moved alike; each has its own top and left.": all_alike,
        "top and left count in the padded picture: (padding, padding) is where it was.": (
            cropped(at=lambda y, x, p: (min(y + p, 2 * p), min(x + p, 2 * p)))
        ),
        "the picture is moved along one axis only.": cropped(at=lambda y, x, p: (y, p)),
        "the padded picture is still to be cut to its old size.": whole_padded,
        "nothing moves: top and left are not used.": cropped(at=lambda y, x, p: (p, p)),
    },
    why="Rows and columns of all pictures at once, without a loop: an index tensor per axis, "
    "broadcast against each other.",
    part="crop",
)

# 5.9 Normalise ------------------------------------------------------------------------------


def normalize_channels(images, mean, std):
    """Whole numbers 0…255, (image, channel, height, width) → floats, channel by channel."""
    mean, std = (torch.tensor(part)[:, None, None] for part in (mean, std))
    return (images / 255 - mean) / std


def colours():
    def bytes_of(*shape):
        return (31 * pencil(*shape) + 124).to(torch.uint8)

    grey = torch.tensor([[[[0, 255]]]], dtype=torch.uint8)
    yield "one grey picture of two pixels", (grey, [0.5], [0.5])
    yield "two channels", (bytes_of(1, 2, 1, 3), [0.5, 0.25], [0.25, 0.5])
    yield (
        "as wide as it has channels",
        (bytes_of(2, 3, 5, 3), [0.5, 0.25, 0.75], [0.5, 0.2, 0.1]),
    )


def normal(scale=255, order="mean first", shape=(-1, 1, 1), spread=lambda s: s):
    """A normalisation with one thing changed."""

    def program(images, mean, std):
        mean, std = (torch.tensor(part).view(shape) for part in (mean, std))
        x = images.float() / scale
        return (x - mean) / spread(std) if order == "mean first" else x / spread(std) - mean

    return program


def undone(images, mean, std):
    mean, std = (torch.tensor(part)[:, None, None] for part in (mean, std))
    return images / 255 * std + mean


def own_statistics(images, mean, std):
    x = images.float() / 255
    deviation, centre = torch.std_mean(x, dim=(0, 2, 3), keepdim=True, correction=0)
    return (x - centre) / deviation


NORMALIZE = Task(
    number="5.9",
    title="Normalise by channel",
    text="Write `normalize_channels` for pictures in colour: `mean` and `std` are lists "
    "with a number for each channel, on the scale of 0 to 1. Whole numbers of 0…255 come in, "
    "and nothing else has to be looked for.",
    minutes=5,
    trains="broadcasting against the axis you mean",
    section="The loss before any training",
    hints=(
        "On which scale is `mean`, and on which are the pixels?",
        "A tensor of shape (3,) is lined up with the *last* axis. Which axis has the channels?",
        "Shape (channel, 1, 1) lines up with (image, channel, height, width).",
    ),
    solution=normalize_channels,
    cases=colours,
    slips={
        "the pixels are still 0…255 while mean and std count from 0 to 1.": normal(1),
        "white is 255 and should become 1: divide by 255, not by 256.": normal(256),
        "divided first and then the mean taken off: the mean goes first.": normal(
            order="std first"
        ),
        "mean and std are lined up with the width; the channels are axis 1.": normal(
            shape=(-1,)
        ),
        "divided by the square of std, the variance.": normal(spread=lambda s: s**2),
        "divided by the root of std: it is a deviation already.": normal(
            spread=lambda s: s**0.5
        ),
        "that is the way back: subtract the mean, divide by std.": undone,
        "the pictures' own mean and deviation are used; those of the data set are given.": (
            own_statistics
        ),
    },
    why="Where the width equals the number of channels, broadcasting complains about nothing: "
    "test with other sizes.",
)

# 5.10 AdamW ---------------------------------------------------------------------------------


def adamw_step(weight, gradient, average, square, step, rate, decay):
    """One step of AdamW, counted from 1 → the new weight, average and square."""
    average = 0.9 * average + 0.1 * gradient
    square = 0.999 * square + 0.001 * gradient**2
    direction = average / (1 - 0.9**step)
    size = (square / (1 - 0.999**step)).sqrt()
    weight = weight - rate * decay * weight - rate * direction / (size + 1e-8)
    return weight, average, square


def slopes():
    def state(*shape, seed):
        return pencil(*shape, seed=seed), pencil(*shape, seed=seed + 1) ** 2 + 0.25

    nothing = torch.zeros(1).double()
    first = torch.tensor([2.0]).double(), torch.tensor([4.0]).double()
    yield "the first step of one number", (*first, nothing, nothing, 1, 0.5, 0.1)
    values = (pencil(3), pencil(3, seed=5) + 0.25, *state(3, seed=7), 2, 0.5, 0.0)
    yield "a second step without decay", values
    tiny = torch.tensor([1.0]).double(), torch.tensor([1e-8]).double()
    yield "a first step, with a gradient of 1e-8", (*tiny, nothing, nothing, 1, 0.5, 0.0)
    steep = (pencil(2, 3), pencil(2, 3, seed=5) + 0.25, *state(2, 3, seed=7), 7, 0.25, 0.5)
    yield "step 7, with decay", steep


def adam(
    betas=(0.9, 0.999),
    power=2,
    root=0.5,
    late=0,
    sign=1,
    corrected=(True, True),
    decay="own",
    inside=0.0,
):
    """A step with one thing changed."""

    def program(weight, gradient, average, square, step, rate, share):
        g = gradient + share * weight if decay == "in the gradient" else gradient
        average = betas[0] * average + (1 - betas[0]) * g
        square = betas[1] * square + (1 - betas[1]) * g**power
        first, second = (
            1 - beta ** (step - late) if on else 1.0
            for beta, on in zip(betas, corrected, strict=True)
        )
        change = average / first / ((square / second + inside) ** root + 1e-8 - inside)
        shrink = {"own": rate * share, "no rate": share}.get(decay, 0.0)
        moved = weight - shrink * weight - sign * rate * change
        if decay == "moved":
            moved = (weight - rate * change) * (1 - rate * share)
        return moved, average, square

    return program


def keeps_corrected(weight, gradient, average, square, step, rate, decay):
    weight, average, square = adamw_step(weight, gradient, average, square, step, rate, decay)
    return weight, average / (1 - 0.9**step), square / (1 - 0.999**step)


def keeps_nothing(weight, gradient, average, square, step, rate, decay):
    return adamw_step(weight, gradient, average, square, step, rate, decay)[0], average, square


ADAMW = Task(
    number="5.10",
    title="AdamW, one step by hand",
    text="""Write one step of AdamW for one weight. It carries two running averages, both 0 \
before the first step:

- `average` ← 0.9 · `average` + 0.1 · gradient, and `square` ← 0.999 · `square` + 0.001 · \
gradient², element by element.
- Since both start at 0, they are too small at first. Step number t (the first is 1) divides \
them by 1 − 0.9ᵗ and 1 − 0.999ᵗ, for this step only; what is carried on is not divided.
- The weight goes against the corrected average, divided by *the root of the corrected \
square, to which 10⁻⁸ is added after the root is taken*, times the rate. Besides, the weight \
as it came in shrinks by its share `rate · decay`, which the gradient knows nothing of.

Give back the new weight, `average` and `square`.""",
    minutes=25,
    trains="what the optimizer does between two lines of the loop",
    section="Can it learn one batch by heart?",
    hints=(
        "In the first step, what is the corrected average? And the corrected square? So how "
        "far does a weight move, whatever its gradient is?",
        "Four lines: two averages, two corrections. Then the weight.",
        "All that shrinks the weight is taken of the *old* weight: rate · decay · weight.",
    ),
    solution=adamw_step,
    cases=slopes,
    slips={
        "the averages are not corrected for their start at 0: divide by 1 − βᵗ.": adam(
            corrected=(False, False)
        ),
        "only one of the two averages is corrected for its start at 0: the square is not.": (
            adam(corrected=(True, False))
        ),
        "the square is not squared: it averages gradient², not gradient.": adam(power=1),
        "there is no root: the average is divided by the root of the square.": adam(root=1),
        "0.9 and 0.999 have changed places.": adam((0.999, 0.9)),
        "it goes up the slope: the change is taken off.": adam(sign=-1),
        "decay went into the gradient: that is Adam with L2. Here it acts on the weight "
        "alone.": (adam(decay="in the gradient")),
        "the decay is not multiplied by the rate.": adam(decay="no rate"),
        "the weight does not decay.": adam(decay="none"),
        "the corrected averages are carried on; the correction is for this step only.": (
            keeps_corrected
        ),
        "the averages come back as they went in: the next step would know nothing of this.": (
            keeps_nothing
        ),
        "steps count from 1: the power in the correction is one too small.": adam(late=1),
        "10⁻⁸ is added under the root; it comes on top of it.": adam(inside=1e-8),
        "the share is taken of the weight after its move; it is that of the old one.": adam(
            decay="moved"
        ),
    },
    why="But for the decay, the first step moves every weight by about the rate, however small "
    "its gradient, as long as it is far above 10⁻⁸: direction counts, not size. That is the "
    "reason usually given for a warm-up.",
)

# 5.11 Clipping ------------------------------------------------------------------------------


def clip(gradients, longest):
    """Gradients of all parameters, a list → a list, all together no longer than ``longest``."""
    length = sum((gradient**2).sum() for gradient in gradients).sqrt()
    share = (longest / length).clamp(max=1)
    return [gradient * share for gradient in gradients]


def lengths():
    yield "one gradient, (3, 4)", (1.0, torch.tensor([3.0, 4.0]).double())
    two = (torch.tensor([3.0, 0.0]).double(), torch.tensor([0.0, 0.0, 4.0]).double())
    yield "two gradients, of lengths 3 and 4", (2.5, *two)
    yield "a gradient that is short enough", (7.0, *two)
    yield "gradients of nothing but zeros", (1.0, torch.zeros(2).double())
    yield "three gradients", (2.0, pencil(2, 3), pencil(5), pencil(3, 7))


def clipped(answer, longest, *gradients):
    found = answer(list(gradients), longest)
    return found and [torch.as_tensor(part).detach() for part in found]


def shortened(length=lambda gradients: torch.cat([g.flatten() for g in gradients]).norm()):
    """Clipping by another length."""

    def program(gradients, longest):
        return [g * (longest / length(gradients)).clamp(max=1) for g in gradients]

    return program


def each_alone(gradients, longest):
    return [shortened()([g], longest)[0] for g in gradients]


def value_by_value(gradients, longest):
    return [g.clamp(-longest, longest) for g in gradients]


def always(gradients, longest):
    length = sum((g**2).sum() for g in gradients).sqrt()
    return [g * longest / length for g in gradients]


def unit(gradients, longest):
    length = sum((g**2).sum() for g in gradients).sqrt()
    return [g / length if length > longest else g for g in gradients]


def thrown_away(gradients, longest):
    length = sum((g**2).sum() for g in gradients).sqrt()
    return [g * (length <= longest) for g in gradients]


CLIP = Task(
    number="5.11",
    title="Clip by the whole length",
    text="Write the clipping yourself. Take the gradients of all parameters for one long "
    "vector. If it is longer than `longest`, scale all of them by one number, so that it is "
    "that long; if not, leave them. Give back a list of new tensors.",
    minutes=10,
    trains="one norm over many tensors",
    section="The loop",
    hints=(
        "Two gradients of lengths 3 and 4, end to end at a right angle: how long is the "
        "vector they make together?",
        "Squares of *all* numbers, added; then one root.",
        "The factor is longest / length, but never more than 1.",
    ),
    solution=clip,
    cases=lengths,
    run=clipped,
    slips={
        "each gradient is clipped by its own length; one length for all is asked for.": (
            each_alone
        ),
        "every number is cut off by itself: that bends the direction. Scale all alike.": (
            value_by_value
        ),
        "a gradient that is short enough is made longer, and zeros become nan: 1 is the "
        "largest factor.": always,
        "the length becomes 1; it should become `longest`.": unit,
        "what is too long is thrown away; it should be made shorter.": thrown_away,
        "the lengths of the parts are added; their *squares* add up.": shortened(
            lambda gradients: sum(g.norm() for g in gradients)
        ),
        "the root is missing: the sum of squares is no length.": shortened(
            lambda gradients: sum((g**2).sum() for g in gradients)
        ),
        "the sum of amounts is taken for the length: squares, then a root.": shortened(
            lambda gradients: sum(g.abs().sum() for g in gradients)
        ),
        "the largest number is taken for the length: squares of all, then a root.": shortened(
            lambda gradients: max(g.abs().max() for g in gradients)
        ),
    },
    why="One factor for all keeps the direction. Clipped apart, the parameters would no longer "
    "go down the slope together.",
    shortcuts=(
        "torch.nn.utils.clip_grad_norm_",
        "torch.nn.utils.clip_grads_with_norm_",
    ),
)

# 5.12 A planted fault -----------------------------------------------------------------------


def accumulate(model, optimizer, images, labels, size):
    """One step on a batch that is too large for the memory → its loss, a number."""
    optimizer.zero_grad()
    total = 0.0
    for some, truth in zip(images.split(size), labels.split(size), strict=True):
        loss = F.cross_entropy(model(some), truth) * len(some) / len(images)
        loss.backward()
        total += loss.item()
    optimizer.step()
    return total


def linear(weight):
    """A layer with this weight; nothing is drawn."""
    layer = nn.Linear(*reversed(weight.shape), bias=False, device="meta")
    layer.weight = nn.Parameter(weight.detach().clone())
    return layer


def batches():
    yield (
        "2 pictures in one part",
        (pencil(2, 3), pencil(2, 3, seed=1), torch.tensor([0, 1]), 2),
    )
    yield (
        "2 parts of one picture",
        (pencil(2, 3), pencil(2, 3, seed=1), torch.tensor([1, 1]), 1),
    )
    labels = torch.tensor([2, 0, 1, 1, 2, 0, 0])
    yield "7 pictures in parts of 3", (pencil(3, 5), pencil(7, 5, seed=1), labels, 3)


def accumulated(answer, weight, images, labels, size):
    """The loss, and the weight after one step; an old gradient lies about before it."""
    model = linear(weight)
    model.weight.grad = torch.ones_like(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    loss = answer(model, optimizer, images, labels, size)
    return None if loss is None else (loss, model.weight.detach())


def in_parts(
    share=lambda part, size, whole: part / whole,
    shown=lambda part, size, whole: part / whole,
    clear="once",
    step="once",
):
    """An accumulation with one thing changed."""

    def program(model, optimizer, images, labels, size):
        total = 0.0
        if clear == "once":
            optimizer.zero_grad()
        for some, truth in zip(images.split(size), labels.split(size), strict=True):
            if clear == "each":
                optimizer.zero_grad()
            loss, sizes = F.cross_entropy(model(some), truth), (len(some), size, len(images))
            (loss * share(*sizes)).backward()
            total += loss.item() * shown(*sizes)
            if step == "each":
                optimizer.step()
        if step == "once":
            optimizer.step()
        return total

    return program


def whole(part, size, count):
    return 1.0


def evenly(part, size, count):
    return 1 / -(-count // size)


ACCUMULATE = Task(
    number="5.12",
    title="A batch in parts: find the fault",
    text="""A batch does not fit into the memory. So its gradient is gathered part by part, \
and then one step is made. This program runs, but does not make that step. Put it right: it \
has to do exactly what one step on the whole batch would do, and give back the loss of the \
whole batch. The last part may be smaller than the others; `images` go to the model as they are.

```python
def accumulate(model, optimizer, images, labels, size):
    optimizer.zero_grad()
    total = 0.0
    for some, truth in zip(images.split(size), labels.split(size), strict=True):
        loss = F.cross_entropy(model(some), truth)
        loss.backward()
        total += loss.item()
    optimizer.step()
    return total
```""",
    minutes=10,
    trains="reading a loop that runs without an error",
    section="The loop",
    hints=(
        "`cross_entropy` gives a mean. What is the mean of 7 losses, made of the means of 3, 3 "
        "and 1 of them?",
        "`backward` adds to the gradients that are there. How many times too large is the sum?",
        "Each part counts by its share of the pictures, in the gradient and in the loss.",
    ),
    solution=accumulate,
    cases=batches,
    run=accumulated,
    slips={
        "the means of the parts are added as they are, in loss and gradient.": in_parts(
            whole, whole
        ),
        "the loss is right, the gradient is not: scale before `backward`.": in_parts(whole),
        "the gradient is right, the loss that comes back is not.": in_parts(shown=whole),
        "parts are averaged as if they were equal; the last one is smaller.": in_parts(
            evenly, evenly
        ),
        "only the last part counts: gradients are cleared inside the loop.": in_parts(
            clear="each"
        ),
        "gradients from before this batch are still in it: clear them first.": in_parts(
            clear="never"
        ),
        "a step after each part; one step for the batch is asked for.": in_parts(step="each"),
        "the model has not moved: where is the step?": in_parts(step="never"),
        "divided by the size of a part, but `cross_entropy` is a mean already.": in_parts(
            lambda part, size, count: 1 / size, lambda part, size, count: 1 / size
        ),
        "divided by the size of the batch, but each part's loss is a mean over its pictures.": (
            in_parts(lambda p, s, count: 1 / count, lambda p, s, count: 1 / count)
        ),
    },
    why="With equal parts AdamW hides most of this fault, since it divides by the gradient's "
    "size; clipping does not, and the loss it tells is too large. With a smaller last part the "
    "direction is wrong, too.",
)

# 5.13 One step ------------------------------------------------------------------------------


def train_step(model, optimizer, images, labels, config, rate):
    """One step, unless the loss is inf or nan: then nothing moves. → the loss, a number."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    logits = model(normalize(images))
    loss = F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing)
    if loss.isfinite():
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
    return loss.item()


class Shares(nn.Module):
    """Logits from each pixel's share of the light; of a black picture they are nan."""

    def __init__(self, weight):
        super().__init__()
        self.layer = linear(weight.float())
        self.loud = nn.Parameter(torch.tensor([2.0]))

    def forward(self, x):
        light = (x + 1).flatten(1)
        return self.loud * self.layer(light / light.sum(dim=1, keepdim=True))


def steps():
    def bright(*shape):
        return (31 * pencil(*shape) + 124).to(torch.uint8)

    two = torch.tensor([[0, 1]])
    yield "one step, no smoothing", (pencil(2, 4), bright(1, 2, 1, 2, 2), two, 0.0, 100.0)
    yield "one step, smoothing 0.5", (pencil(2, 4), bright(1, 2, 1, 2, 2), two, 0.5, 100.0)
    yield "one step, clipped to 0.01", (pencil(2, 4), bright(1, 2, 1, 2, 2), two, 0.0, 0.01)
    labels = torch.tensor([[0, 2, 1], [1, 1, 0]])
    yield "two steps", (pencil(3, 6), bright(2, 3, 1, 2, 3), labels, 0.25, 100.0)
    dark = bright(3, 2, 1, 2, 3)
    dark[1, 0] = 0
    labels = torch.tensor([[0, 2], [1, 1], [0, 1]])
    yield (
        "a step whose loss is nan, between two others",
        (pencil(3, 6), dark, labels, 0.25, 0.1),
    )


def stepped(answer, weight, images, labels, smoothing, clip):
    """The losses of some steps, and what they have made of the model."""
    model = Shares(weight)
    groups = [{"params": [model.layer.weight]}, {"params": [model.loud]}]
    optimizer = torch.optim.SGD(groups, lr=8.0)
    config = SimpleNamespace(label_smoothing=smoothing, clip=clip)
    rates = (0.5, 2.0, 1.0)[: len(images)]
    losses = [
        answer(model, optimizer, *batch, config, rate)
        for *batch, rate in zip(images, labels, rates, strict=True)
    ]
    if None in losses and len(set(losses)) == 1:
        return None
    weights = {name: p.detach() for name, p in model.named_parameters()}
    return {"losses": losses, **weights}


def step_of(
    groups=None, clear="before", bound="length", smooth=True, check=True, read=normalize, move=1
):
    """A step with one thing changed."""

    def program(model, optimizer, images, labels, config, rate):
        for group in optimizer.param_groups[:groups]:
            group["lr"] = rate
        smoothing = config.label_smoothing if smooth else 0.0
        loss = F.cross_entropy(model(read(images)), labels, label_smoothing=smoothing)
        if check and not loss.isfinite():
            return 0.0 if check == "and hide" else loss.item()
        if clear == "before":
            optimizer.zero_grad()
        loss.backward()
        if bound == "length":
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        if bound == "value":
            torch.nn.utils.clip_grad_value_(model.parameters(), config.clip)
        for _ in range(move):
            optimizer.step()
        return loss.item()

    return program


STEP = Task(
    number="5.13",
    title="A step that survives a nan",
    text="Write the chapter's `train_step` with one addition. In long runs a batch may come "
    "whose loss is `inf` or `nan`, and one step with it ruins every weight. So look at the "
    "loss first: if it is not finite, make no step of the optimizer, so that neither the "
    "weights nor its averages change. The loss, as a number, comes back in any case. `config` "
    "has `label_smoothing` and `clip`; `normalize` is given.",
    minutes=15,
    trains="the order of the lines in a step",
    section="The loop",
    hints=(
        "Say the six things a step does, in their order, before you write one.",
        "Clipping changes gradients, so it stands after `backward` made them and before `step` "
        "uses them.",
        "`loss.isfinite()` is False for inf and nan. All that changes the model goes under "
        "that one `if`.",
    ),
    solution=train_step,
    cases=steps,
    run=stepped,
    names="from vitbook.data import normalize",
    slips={
        "the rate is not set: the optimizer still has its old one.": step_of(groups=0),
        "the rate is set in the first group only; there may be several.": step_of(groups=1),
        "the gradients of the step before are still in it: clear them.": step_of(clear=""),
        "nothing moves: no step, or the gradients are cleared between backward and step.": (
            step_of(move=0)
        ),
        "the gradient is not clipped when step uses it: clip after backward, before step.": (
            step_of(bound="")
        ),
        "each number of the gradient is clipped by itself; its length is to be clipped.": (
            step_of(bound="value")
        ),
        "the loss has no label smoothing.": step_of(smooth=False),
        "the model gets the whole numbers of 0…255: `normalize` is missing.": step_of(
            read=lambda images: images.float()
        ),
        "a loss of nan went into the weights: look at it before you step.": step_of(
            check=False
        ),
        "a skipped step hides its loss: the nan is to come back, so that it can be seen.": (
            step_of(check="and hide")
        ),
        "it steps twice.": step_of(move=2),
    },
    why="A step that is skipped in silence hides a fault; one that comes back as nan can be "
    "counted. The package's engine counts them, and stops when there are too many.",
    part="train_step",
)

# 5.14 Stop, and go on -----------------------------------------------------------------------


class Snapshot:
    """A training as it is now, kept in memory, to be put back any number of times."""

    def __init__(self):
        self.state = None

    def keep(self, model, optimizer, dice):
        """Keep the weights, the optimizer's state, and that of the generator ``dice``."""
        state = (model.state_dict(), optimizer.state_dict(), dice.get_state())
        self.state = copy.deepcopy(state)

    def put_back(self, model, optimizer, dice):
        """Put them back."""
        weights, averages, drawn = copy.deepcopy(self.state)
        model.load_state_dict(weights)
        optimizer.load_state_dict(averages)
        dice.set_state(drawn)


def runs():
    yield "a model of 2 × 3 weights", (pencil(2, 3), pencil(5, 3, seed=1), one(0).repeat(5))
    labels = torch.tensor([0, 2, 1, 1, 2, 0, 2])
    yield "7 pictures of 3 classes", (pencil(3, 2), pencil(7, 2, seed=3), labels)
    yield "one more", (pencil(3, 5), pencil(7, 5, seed=1), labels)


def put_back_twice(answer, weight, images, labels):
    """What a model says after two steps more: straight on, and after each putting back."""
    norm = nn.BatchNorm1d(images.shape[1], affine=False, dtype=images.dtype)
    model = nn.Sequential(norm, linear(weight))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.25)
    dice, snapshot = torch.Generator().manual_seed(0), answer()

    def two_steps():
        for _ in range(2):
            chosen = torch.randperm(len(images), generator=dice)[:3]
            model.train()
            loss = F.cross_entropy(model(images.detach()[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return model.eval()(images).detach()

    two_steps()
    snapshot.keep(model, optimizer, dice)
    found = {"straight on": two_steps()}
    for times in ("once", "twice"):
        snapshot.put_back(model, optimizer, dice)
        found[f"put back {times}"] = two_steps()
    return found


def keeping(copies="model optimizer", back=True, forget="", parameters=False):
    """A snapshot with one thing changed."""

    class Program:
        def keep(self, model, optimizer, dice):
            kept = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            if parameters:
                kept["model"] = dict(model.named_parameters())
            self.kept = {k: copy.deepcopy(v) if k in copies else v for k, v in kept.items()}
            self.drawn = dice.get_state()

        def put_back(self, model, optimizer, dice):
            kept = copy.deepcopy(self.kept) if back else self.kept
            if forget != "model":
                model.load_state_dict(kept["model"], strict=not parameters)
            if forget != "optimizer":
                optimizer.load_state_dict(kept["optimizer"])
            if forget != "dice":
                dice.set_state(self.drawn)

    return Program


SNAPSHOT = Task(
    number="5.14",
    title="A checkpoint without a file",
    text="""The chapter writes its checkpoint to a file. To try three learning rates from one \
point on, memory is enough. Write `Snapshot`: `keep` keeps a training, `put_back` puts it \
back, its rate included, *as often as one likes*, and every time the training goes on as it \
would have gone.

The random numbers come from a generator of its own, `dice`, with `dice.get_state()` and \
`dice.set_state(…)`.""",
    minutes=25,
    trains="what a state is, and what is only a name for it",
    section="Stop, and go on",
    hints=(
        "Which things must be kept so that a run goes on as if nothing had happened? One of "
        "the four, how far we were, is not asked for here.",
        "A file holds a copy. Does `state_dict()`, or does it hold the tensors that training "
        "goes on changing?",
        "Copy deeply on the way in. Then think about the way out: an optimizer may go on "
        "working *in* the tensors that it is given.",
    ),
    solution=Snapshot,
    cases=runs,
    run=put_back_twice,
    filled=("__init__",),
    names="import copy",
    slips={
        "what is kept goes on changing: a `state_dict` holds the tensors themselves.": keeping(
            copies=""
        ),
        "the weights stay where training took them: they are not put back, or were not copied "
        "when they were kept.": keeping(copies="optimizer"),
        "the weights are a copy, AdamW's averages go on changing: copy them, too.": keeping(
            copies="model"
        ),
        "it works once. AdamW then goes on in the very tensors you kept: copy on the way "
        "back.": keeping(back=False),
        "AdamW's averages are not put back.": keeping(forget="optimizer"),
        "the generator's state is not put back; `dice` is not torch's own one.": keeping(
            forget="dice"
        ),
        "parameters are put back, buffers are not: a norm's running mean is in `state_dict`.": (
            keeping(parameters=True)
        ),
    },
    why="`model.load_state_dict` copies into the model, `optimizer.load_state_dict` takes the "
    "tensors themselves. A file never shows the difference.",
)

# 5.18 Accuracy -----------------------------------------------------------------------------


@torch.no_grad()
def accuracy(model, images, labels, best=1, size=500):
    """The share of pictures whose label is among the model's ``best`` largest logits."""
    was_training = model.training
    model.eval()
    hits = 0
    for some, truth in zip(images.split(size), labels.split(size), strict=True):
        named = model(some).topk(best, dim=1).indices
        hits += (named == truth[:, None]).any(dim=1).sum().item()
    model.train(was_training)
    return hits / len(labels)


def held_out():
    def case(n, width, classes, *rest):
        weight = pencil(classes, width) + torch.arange(classes)[:, None] / 97
        images = pencil(n, width, seed=2) + torch.arange(width) / 89
        return weight, images, torch.arange(n) % classes, *rest

    yield "two pictures at once", case(2, 3, 2, 1, 5, False)
    yield "3 pictures, a model that was training", case(3, 2, 3, 1, 3, True)
    yield "7 pictures in parts of 5", case(7, 3, 5, 1, 5, True)
    yield "7 pictures, the best 2 of 5", case(7, 3, 5, 2, 4, False)
    yield "11 pictures, the best 3 of 5", case(11, 3, 5, 3, 3, True)


def asked(answer, weight, images, labels, best, size, training):
    """The share, and what became of a model that was, or was not, in training."""
    norm = nn.BatchNorm1d(images.shape[1], affine=False, dtype=images.dtype)
    norm.running_mean += 2 - torch.arange(images.shape[1])  # unlike those of any batch
    model = nn.Sequential(norm, linear(weight)).train(training)
    share = answer(model, images, labels, best, size)
    mode = "training" if model.training else "evaluation"
    return None if share is None else {"the share": share, "the mode afterwards": mode}


def counted(
    switch=True,
    after=lambda was: was,
    mean=False,
    largest=True,
    only=None,
    share=lambda hits, n, best: hits / n,
):
    """An accuracy with one thing changed."""

    def program(model, images, labels, best=1, size=500):
        was = model.training
        model.train(was and not switch)
        found = []
        with torch.no_grad():
            for some, truth in zip(images.split(size), labels.split(size), strict=True):
                named = model(some).topk(only or best, dim=1, largest=largest).indices
                found.append((named == truth[:, None]).any(dim=1).double())
        model.train(after(was))
        if mean:
            return sum(part.mean().item() for part in found) / len(found)
        return share(torch.cat(found).sum().item(), len(labels), best)

    return program


ACCURACY = Task(
    number="5.18",
    title="Among the best five",
    text="With a thousand classes one also reports how often the label is among the five "
    "largest logits. Write `accuracy` for any such number `best`, in batches of `size`, of "
    "which the last may be smaller; `images` go to the model as they are, and the share comes "
    "back as a number from 0 to 1. While it counts, the model is in evaluation mode; "
    "afterwards it is in the mode in which it came.",
    minutes=15,
    trains="what to switch off while measuring, and to switch back on",
    section="The loop",
    hints=(
        "Which layers behave in another way while they train? What says in which mode a model "
        "is?",
        "`topk(best, dim=1).indices` names the classes; compare with the labels, which need an "
        "axis more.",
        "Count hits, not shares, and divide once at the end.",
    ),
    solution=accuracy,
    cases=held_out,
    run=asked,
    slips={
        "the model still trains while it is asked: `eval` is missing.": counted(switch=False),
        "the model is left in evaluation mode; it came in training mode.": counted(
            after=lambda was: False
        ),
        "the model is left in training mode, in which it did not come.": counted(
            after=lambda was: True
        ),
        "the mean of the batches' shares: the last batch is smaller and counts too much.": (
            counted(mean=True)
        ),
        "only the largest logit is asked: `best` is not used.": counted(only=1),
        "the smallest logits are asked, not the largest.": counted(largest=False),
        "hits are counted; their share is asked for.": counted(share=lambda h, n, best: h),
        "divided by `best` as well: one hit among the best is a whole hit.": counted(
            share=lambda h, n, best: h / n / best
        ),
        "that is the share of misses.": counted(share=lambda h, n, best: 1 - h / n),
    },
    why="A model left in evaluation mode goes on learning, without dropout and with frozen "
    "norms, and nothing says so.",
    shortcuts=("vitbook.training.accuracy",),
)

# Questions ----------------------------------------------------------------------------------

STEPS = Question(
    number="5.15",
    title="How many steps?",
    text="50,000 pictures, batches of 128, 18 epochs, and the last batch of an epoch may be "
    "smaller, as in the chapter's loop. How many steps does the optimizer make?",
    minutes=3,
    trains="reading a schedule's axis",
    section="The loop",
    hints=(
        "What does `order.split(128)` do with the pictures that are left at the end?",
        "Round first, multiply afterwards.",
        "How many whole batches are in 50,000, and is there a rest?",
    ),
    answer=18 * math.ceil(50_000 / 128),
    slips={
        "The last, smaller batch of every epoch is a step, too.": 18 * (50_000 // 128),
        "Every epoch ends with a smaller batch: round up *before* you multiply.": math.ceil(
            18 * 50_000 / 128
        ),
        "There is no part of a step: every epoch ends with a smaller batch.": 18 * 50_000 / 128,
        "That is one epoch.": math.ceil(50_000 / 128),
        "That is how many pictures are seen; a step sees 128 of them.": 18 * 50_000,
        "The 128 are pictures in a batch, not batches in an epoch.": 18 * 128,
    },
    solution="18 * math.ceil(50_000 / 128)",
    within=1e-6,
    why="391 steps an epoch, 7,038 in all, and the warm-up of a tenth lasts for 704 of them.",
)

SLOPE = Question(
    number="5.16",
    title="Derive the slope of the loss",
    text="A picture's right class gets the probability 0.3, another one 0.2, by softmax. The "
    "loss is −log 0.3, without smoothing. By how much does the loss change for each unit by "
    "which the *logit* of the right class grows (the derivative)?",
    minutes=10,
    trains="where every gradient begins",
    section="The loss before any training",
    hints=(
        "Write the loss with logits only: minus the right one, plus the log of a sum.",
        "What is the derivative of log Σ eˣ by one x? You have met that fraction before.",
        "The first part gives a constant, the second a probability.",
    ),
    answer=-0.7,
    slips={
        "That is the derivative by the *probability*; the softmax comes in between.": -1 / 0.3,
        "The logit stands in the loss twice: minus itself, too, which gives −1.": 0.3,
        "A larger logit of the right class makes the loss smaller: look at the sign.": 0.7,
        "That is the derivative of the probability, p (1 − p), not of its logarithm.": 0.21,
        "The softmax's derivative is p (1 − p), and −1 / p stands before it: multiply.": -0.21,
        "That is the slope by the logit of the other class; its target is 0.": 0.2,
        "That is without the log of the sum, in which the logit stands as well.": -1,
    },
    solution="logits = torch.log(torch.tensor([0.3, 0.2, 0.5])).requires_grad_()\n"
    "F.cross_entropy(logits, torch.tensor(0)).backward()\n"
    "logits.grad[0].item()",
    within=0.005,
    why="Probability minus target, for every class. So the slopes of a picture sum to zero, "
    "and a picture that is right and sure pulls at nothing.",
)

FLOOR = Question(
    number="5.17",
    title="Change the smoothing and measure",
    text="How low can the loss get with a label smoothing of 0.2 in place of 0.1, and ten "
    "classes? Measure it: take ten logits as a parameter, let an optimizer pull the loss of "
    "one label down until it stays, and give the number, two digits behind the point.",
    minutes=10,
    trains="measuring what the chapter says, at another place",
    section="Train",
    hints=(
        "What moves here? No model is needed: ten numbers, one label, the loop of six lines.",
        "`F.cross_entropy` takes `label_smoothing`; AdamW with a rate of 0.1 and no decay "
        "needs some hundred steps.",
        "Check by hand with the chapter's formula: what is the right class asked for, and each "
        "of the nine others?",
    ),
    answer=-0.82 * math.log(0.82) - 9 * 0.02 * math.log(0.02),
    slips={
        "That is the value of the chapter, for 0.1.": (
            -0.91 * math.log(0.91) - 9 * 0.01 * math.log(0.01)
        ),
        "With smoothing the loss cannot reach zero.": 0.0,
        "The nine other classes are asked for something, too, and cost.": (
            -0.82 * math.log(0.82)
        ),
        "The right class gets its share of the 0.2 as well: 0.82, not 0.8.": (
            -0.8 * math.log(0.8) - 0.2 * math.log(0.2 / 9)
        ),
        "That is the loss where nothing was learned; let it fall first.": math.log(10),
        "That is the cost of the right class, not weighed, and the others' is missing.": (
            -math.log(0.82)
        ),
        "There are nine other classes, and each costs −0.02 log 0.02.": (
            -0.82 * math.log(0.82) - 0.02 * math.log(0.02)
        ),
    },
    solution="logits = torch.zeros(1, 10, requires_grad=True)\n"
    "optimizer = torch.optim.AdamW([logits], lr=0.1, weight_decay=0)\n"
    "for _ in range(400):\n"
    "    loss = F.cross_entropy(logits, torch.tensor([3]), label_smoothing=0.2)\n"
    "    optimizer.zero_grad()\n"
    "    loss.backward()\n"
    "    optimizer.step()\n"
    "loss.item()",
    within=0.01,
    why="The best answer is no longer sure: 0.82, not 1. What is left is the entropy of the "
    "target, and no training goes below it.",
)

TASKS = (
    LOSS,
    GROUPS,
    SCHEDULE,
    CROP,
    NORMALIZE,
    ADAMW,
    CLIP,
    ACCUMULATE,
    STEP,
    SNAPSHOT,
    STEPS,
    SLOPE,
    FLOOR,
    ACCURACY,
)
