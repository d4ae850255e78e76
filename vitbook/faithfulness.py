"""Chapter 6: is a map true? Scores where the truth is known, interventions where not.

Maps are (image, patch), not negative; how they were made does not matter here. Models
are known through a forward call alone.
"""

import copy

import torch
import torch.nn.functional as F
from einops import rearrange

from vitbook.patches import patchify, unpatchify


def inside_boxes(boxes, grid, patch_size):
    """Which patches lie in a box: (image, patch), 1 or 0.

    Args:
        boxes: (image, 4): top, left, bottom, right in pixels, on the patch grid.
        grid: (rows, columns) of patches.
        patch_size: side of a patch in pixels.
    """
    rows, columns = (torch.arange(count, device=boxes.device) * patch_size for count in grid)
    top, left, bottom, right = boxes.T[:, :, None]
    tall = (rows >= top) & (rows < bottom)
    wide = (columns >= left) & (columns < right)
    return (tall[:, :, None] & wide[:, None, :]).flatten(1).float()


def pointing(maps, inside):
    """The pointing game (Zhang et al. 2018): is the brightest patch in the box? (image,).

    Of several equally bright patches, each counts by its share: a flat map scores what
    chance would.
    """
    brightest = (maps == maps.amax(dim=1, keepdim=True)).float()
    return (brightest * inside).sum(dim=1) / brightest.sum(dim=1)


def energy(maps, inside):
    """The share of the map in the box (Wang et al. 2020): (image,); of an empty map, chance."""
    flat = maps.sum(dim=1, keepdim=True) == 0
    maps = torch.where(flat, torch.ones_like(maps), maps)
    return (maps * inside).sum(dim=1) / maps.sum(dim=1)


def order(maps, inside, among=None):
    """How well a map ranks the box above the rest, by its order alone: (image,).

    The share of all pairs, one patch inside and one outside, of which the one inside is the
    brighter; equals count a half. It is the area under the ROC curve: 1/2 by chance.

    Args:
        maps: (image, patch).
        inside: (image, patch), 1 in the box, 0 outside.
        among: (image, patch), True for the patches that are compared; all by default.
    """
    outside = 1 - inside
    if among is not None:
        inside, outside = inside * among, outside * among
    brighter = maps[:, :, None] - maps[:, None, :]  # (image, one patch, another)
    won = (brighter > 0).to(maps) + (brighter == 0).to(maps) / 2
    pairs = inside[:, :, None] * outside[:, None, :]
    return (won * pairs).sum(dim=(1, 2)) / pairs.sum(dim=(1, 2))


def interval(values, groups=None, level=0.95, draws=2000, seed=0):
    """The mean of a score over images, and its bootstrap interval.

    Two methods are compared by the interval of their difference, image by image.

    Args:
        values: (image,).
        groups: (image,), any numbers: images of one number share what they were made from,
            and are drawn together. Without it every image is its own group.
        level: share of the resampled means inside the interval.
        draws: how often the groups are drawn anew, with replacement.
        seed: fixes the draws.

    Returns:
        (mean, low, high).
    """
    dice, values = torch.Generator().manual_seed(seed), values.double().cpu()
    groups = torch.arange(len(values)) if groups is None else groups.cpu()
    groups = groups.unique(return_inverse=True)[1]
    counts, sums = groups.bincount().double(), groups.bincount(weights=values)
    drawn = torch.randint(len(sums), (draws, len(sums)), generator=dice)
    means = sums[drawn].sum(dim=1) / counts[drawn].sum(dim=1)
    low, high = means.quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2]).double())
    return values.mean().item(), low.item(), high.item()


def blur(images, sigma=4.0):
    """Gaussian blur, so wide that no detail is left; the border is reflected."""
    reach = min(round(2 * sigma), min(images.shape[-2:]) - 1)
    steps = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-(steps**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, 1, -1)
    padded = F.pad(images, [reach] * 4, mode="reflect")
    wide = F.conv2d(padded, kernel, groups=images.shape[1])
    return F.conv2d(wide, kernel.mT, groups=images.shape[1])


def mean_fill(images):
    """Every image replaced by its mean colour."""
    return images.mean(dim=(2, 3), keepdim=True).expand_as(images)


FILLS = {"mean": mean_fill, "blur": blur}


@torch.no_grad()
def curve(model, images, targets, maps, patch_size, mode, fill="mean", steps=8, seed=0):
    """The target's probability while patches go, or come, in the order of a map.

    Petsiuk et al. 2018 (RISE), by patches. With "deletion" the brightest patches are
    filled first: a map that knows what matters makes the probability fall early. With
    "insertion" a filled image gets its brightest patches back first: it should rise early.

    Args:
        model: from images to logits, in evaluation mode.
        images: (image, channel, height, width), normalised.
        targets: (image,), classes.
        maps: (image, patch); equally bright patches go in an order drawn by chance.
        patch_size: side of a patch in pixels.
        mode: "deletion" or "insertion".
        fill: "mean" for the image's mean colour, "blur" for a blurred image.
        steps: in how many steps all patches are changed, as equal as their number allows;
            with fewer patches than that, one at a time.
        seed: fixes the order of equal patches.

    Returns:
        (image, steps + 1): probabilities with 0, …, all patches changed.

    Raises:
        ValueError: an unknown mode or fill, or no step at all.
    """
    if mode not in ("deletion", "insertion") or fill not in FILLS or steps < 1:
        raise ValueError(
            f'mode must be "deletion" or "insertion", fill one of {tuple(FILLS)}, and steps '
            f"at least 1; got {mode!r}, {fill!r}, {steps}"
        )
    n = maps.shape[1]
    steps = min(steps, n)
    grid = tuple(side // patch_size for side in images.shape[-2:])
    whole, filled = patchify(images, patch_size), patchify(FILLS[fill](images), patch_size)
    start, end = (whole, filled) if mode == "deletion" else (filled, whole)
    place = places(maps, seed)
    found = []
    for step in range(steps + 1):
        changed = place < step * n // steps
        patches = torch.where(changed[:, :, None], end, start)
        logits = model(unpatchify(patches, patch_size, grid))
        found.append(logits.softmax(dim=1).gather(1, targets[:, None])[:, 0])
    return torch.stack(found, dim=1)


def places(maps, seed=0):
    """Each patch's place, 0 for the brightest; equals in an order drawn by chance."""
    dice = torch.Generator().manual_seed(seed)
    shuffled = torch.rand(maps.shape, generator=dice).argsort(dim=1).to(maps.device)
    ranked = maps.gather(1, shuffled).argsort(dim=1, descending=True, stable=True)
    return shuffled.gather(1, ranked).argsort(dim=1)


def area(curves):
    """Area under each curve, the whole length counted as 1: (image,)."""
    return torch.trapezoid(curves, dim=1) / (curves.shape[1] - 1)


def randomised(model, parts, seed=0):
    """A copy of a model whose upper parts are drawn anew (Adebayo et al. 2018).

    Args:
        model: a :class:`vitbook.VisionTransformer`.
        parts: how many, counted from the top: 1 is head and last norm, each further one
            is the next block below. More than all blocks draws the embeddings too.
        seed: fixes what is drawn.
    """
    twin = copy.deepcopy(model)
    pieces = [[twin.head, twin.norm], *[[b] for b in reversed(twin.blocks)], [twin.embeddings]]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        fresh = type(model)(model.config)
    names = {module: name for name, module in twin.named_modules()}
    for piece in pieces[:parts]:
        for module in piece:
            module.load_state_dict(fresh.get_submodule(names[module]).state_dict())
    return twin.train(model.training)


def rank_correlation(one, other, among=None):
    """Spearman's correlation of two maps of the same image: (image,), 1 for equal order.

    A flat map has no order: its correlation, even with itself, counts as 0.

    Args:
        one, other: (image, patch).
        among: (image, patch), True for the patches that are compared; all by default.
    """
    from scipy.stats import rankdata

    left_out = torch.zeros(one.shape, dtype=torch.bool) if among is None else ~among.cpu()
    maps = [m.detach().cpu().double().masked_fill(left_out, torch.nan) for m in (one, other)]
    ranks = [torch.from_numpy(rankdata(m.numpy(), axis=1, nan_policy="omit")) for m in maps]
    centred = [(r - r.nanmean(dim=1, keepdim=True)).nan_to_num() for r in ranks]
    lengths = [c.norm(dim=1) for c in centred]
    product = (centred[0] * centred[1]).sum(dim=1)
    return torch.nan_to_num(product / (lengths[0] * lengths[1]))


def centre_prior(grid):
    """A hill in the middle of the picture, the same for every image: (patch,)."""
    rows, columns = (torch.arange(float(count)) - (count - 1) / 2 for count in grid)
    hill = torch.exp(-(rows[:, None] ** 2 / grid[0] ** 2 + columns**2 / grid[1] ** 2) * 8)
    return rearrange(hill, "h w -> (h w)")
