"""Wrong programs for chapter 6."""

import math

import torch
import torch.nn.functional as F
from einops import rearrange, repeat

from wrong_programs import wrong

# 6.7 The row that decides


def share(x):
    return x / x.sum(-1).unsqueeze(-1)


@wrong("6.7", "the look at itself is left in")
def _(weights, layer=-1, registers=0):
    return share(weights[layer].select(-2, 0))


@wrong("6.7", "the registers are left in")
def _(weights, layer=-1, registers=0):
    return share(weights[layer].select(-2, 0).narrow(-1, 1, weights.size(-1) - 1))


@wrong("6.7", "as many tokens as there are registers are missing at the end")
def _(weights, layer=-1, registers=0):
    return share(weights[layer][:, :, 0, 1 : weights.size(-1) - registers])


@wrong("6.7", "that is the column")
def _(weights, layer=-1, registers=0):
    return share(weights[layer].mT[:, :, 0, 1 + registers :])


@wrong("6.7", "the mean of all rows is taken")
def _(weights, layer=-1, registers=0):
    return share(weights[layer].sum(2)[..., 1 + registers :])


@wrong("6.7", "the rest is not rescaled")
def _(weights, layer=-1, registers=0):
    return weights[layer].select(-2, 0)[..., registers + 1 :]


@wrong("6.7", "divided by the largest look")
def _(weights, layer=-1, registers=0):
    look = weights[layer].select(-2, 0)[..., registers + 1 :]
    return look / look.max(dim=-1, keepdim=True).values


@wrong("6.7", "a softmax of weights flattens them")
def _(weights, layer=-1, registers=0):
    return F.softmax(weights[layer].select(-2, 0)[..., registers + 1 :], dim=-1)


@wrong("6.7", "always the last layer")
def _(weights, layer=-1, registers=0):
    return share(weights[-1:][0][:, :, 0, 1 + registers :])


@wrong("6.7", "always the first layer")
def _(weights, layer=-1, registers=0):
    return share(next(iter(weights))[:, :, 0, 1 + registers :])


@wrong("6.7", "the heads are averaged")
def _(weights, layer=-1, registers=0):
    looks = [share(head[:, 0, 1 + registers :]) for head in weights[layer].unbind(1)]
    return sum(looks) / len(looks)


# 6.8 Rollout


def mixed(weights, residual, heads=None):
    a = weights.sum(2) / weights.shape[2] if heads is None else heads
    return torch.lerp(a, torch.eye(a.shape[-1]).to(a).expand_as(a), residual)


def product(matrices):
    total = matrices[0]
    for m in matrices[1:]:
        total = torch.bmm(m, total)
    return total


@wrong("6.8", "the product runs the wrong way")
def _(weights, residual=0.5):
    return product(mixed(weights, residual).flip(0))


@wrong("6.8", "there is no residual")
def _(weights, residual=0.5):
    return product(weights.mean(2))


@wrong("6.8", "the identity is added whole")
def _(weights, residual=0.5):
    return product(weights.mean(2) + torch.eye(weights.shape[-1], dtype=weights.dtype))


@wrong("6.8", "the shares have changed places")
def _(weights, residual=0.5):
    return product(mixed(weights, 1 - residual))


@wrong("6.8", "always one half")
def _(weights, residual=0.5):
    return product(mixed(weights, 0.5))


@wrong("6.8", "the residual enters once at the end")
def _(weights, residual=0.5):
    return mixed(None, residual, product(weights.mean(2)))


@wrong("6.8", "attention is not scaled")
def _(weights, residual=0.5):
    return product(mixed(weights, residual) + residual * weights.mean(2))


@wrong("6.8", "the heads are added")
def _(weights, residual=0.5):
    return product(mixed(weights, residual, weights.sum(2)))


@wrong("6.8", "the strongest head is taken")
def _(weights, residual=0.5):
    return product(mixed(weights, residual, weights.max(2).values))


@wrong("6.8", "each head is followed alone")
def _(weights, residual=0.5):
    alone = [product(mixed(None, residual, one)) for one in weights.unbind(2)]
    return torch.stack(alone).mean(0)


@wrong("6.8", "the layers are averaged")
def _(weights, residual=0.5):
    return mixed(None, residual, weights.mean((0, 2)))


@wrong("6.8", "numbers are multiplied place by place")
def _(weights, residual=0.5):
    return mixed(weights, residual).prod(0)


@wrong("6.8", "that is the last layer alone")
def _(weights, residual=0.5):
    return mixed(weights, residual)[-1]


@wrong("6.8", "it calls rollout, which is what you are to write")
def _(weights, residual=0.5):
    from vitbook import explain

    return explain.rollout(weights, residual > 0)


# 6.9 Relevance


def chefer(bars, class_token, rows=None):
    n = bars.shape[-1]
    total = product(bars + torch.eye(n).to(bars)) - torch.eye(n).to(bars)
    return total[:, 0, 1:] if class_token else total.sum(1) / n


@wrong("6.9", "heads are averaged before the positive part is taken")
def _(weights, gradients, class_token):
    return chefer(F.relu((weights * gradients).mean(2)), class_token)


@wrong("6.9", "what speaks against the class is kept")
def _(weights, gradients, class_token):
    return chefer(torch.mul(weights, gradients).mean(2), class_token)


@wrong("6.9", "what speaks against the class counts as if it spoke for it")
def _(weights, gradients, class_token):
    return chefer(torch.mul(weights, gradients.abs()).mean(2), class_token)


@wrong("6.9", "the gradient is not used")
def _(weights, gradients, class_token):
    return chefer(F.relu(weights).mean(2), class_token)


@wrong("6.9", "the look is not used")
def _(weights, gradients, class_token):
    return chefer(F.relu(gradients).mean(2), class_token)


@wrong("6.9", "the heads are added")
def _(weights, gradients, class_token):
    return chefer(F.relu(weights * gradients).sum(2), class_token)


@wrong("6.9", "what was there is lost in each step")
def _(weights, gradients, class_token):
    total = product(F.relu(weights * gradients).mean(2))
    total = total - torch.eye(total.shape[-1]).to(total)
    return total[:, 0, 1:] if class_token else total.mean(1)


@wrong("6.9", "the layer stands on the wrong side")
def _(weights, gradients, class_token):
    return chefer(F.relu(weights * gradients).mean(2).flip(0), class_token)


@wrong("6.9", "the layers are added up")
def _(weights, gradients, class_token):
    total = F.relu(weights * gradients).mean(2).sum(0)
    return total[:, 0, 1:] if class_token else total.mean(1)


@wrong("6.9", "the identity is still in the map")
def _(weights, gradients, class_token):
    found = chefer(F.relu(weights * gradients).mean(2), class_token)
    return found if class_token else found + 1 / weights.shape[-1]


@wrong("6.9", "without a class token, row 0 is a patch")
def _(weights, gradients, class_token):
    bars = F.relu(weights * gradients).mean(2)
    whole = product(bars + torch.eye(bars.shape[-1]).to(bars))[:, 0]
    whole = whole - F.one_hot(torch.tensor(0), bars.shape[-1])
    return whole[:, 1:] if class_token else whole


@wrong("6.9", "where there is a class token, the answer comes from its row")
def _(weights, gradients, class_token):
    found = chefer(F.relu(weights * gradients).mean(2), False)
    return found[:, int(class_token) :]


@wrong("6.9", "that is a column, where the map is a row")
def _(weights, gradients, class_token):
    bars = F.relu(weights * gradients).mean(2)
    eye = torch.eye(bars.shape[-1]).to(bars)
    total = (product(bars + eye) - eye).mT
    return total[:, 0, 1:] if class_token else total.mean(1)


# 6.10 How far


def places(grid):
    return torch.tensor([(y, x) for y in range(grid[0]) for x in range(grid[1])])


def inner(weights, grid):
    n = math.prod(grid)
    return weights[..., weights.size(-1) - n :, weights.size(-1) - n :]


def averaged(looks, far, over=(1, 3)):
    """far (query, key, 2)."""
    return torch.einsum("lbhqk, qka -> lbhqa", looks, far.to(looks)).mean(over)


def spans(grid):
    at = places(grid)
    return (at[:, None] - at[None]).abs()


@wrong("6.10", "the looks are not rescaled once the class token is left out")
def _(weights, grid, patch_size):
    return averaged(inner(weights, grid), patch_size * spans(grid))


@wrong("6.10", "rescaled by columns")
def _(weights, grid, patch_size):
    return averaged(share(inner(weights, grid).mT).mT, patch_size * spans(grid))


@wrong("6.10", "the last token is left out")
def _(weights, grid, patch_size):
    return averaged(share(weights[..., :-1, :-1]), patch_size * spans(grid))


@wrong("6.10", "left and right come first")
def _(weights, grid, patch_size):
    return averaged(share(inner(weights, grid)), patch_size * spans(grid).flip(-1))


@wrong("6.10", "rows and columns of the grid have changed places")
def _(weights, grid, patch_size):
    return averaged(share(inner(weights, grid)), patch_size * spans(grid[::-1]))


@wrong("6.10", "left and right cancel each other")
def _(weights, grid, patch_size):
    at = places(grid) * patch_size
    return averaged(share(inner(weights, grid)), at[:, None] - at[None])


@wrong("6.10", "distances are squared")
def _(weights, grid, patch_size):
    return averaged(share(inner(weights, grid)), (patch_size * spans(grid)) ** 2)


@wrong("6.10", "that is in patches")
def _(weights, grid, patch_size):
    return averaged(share(inner(weights, grid)), spans(grid))


@wrong("6.10", "the images are averaged, the queries are not")
def _(weights, grid, patch_size):
    far = averaged(share(inner(weights, grid)), patch_size * spans(grid), over=1)
    return far


@wrong("6.10", "averaged over keys instead of added")
def _(weights, grid, patch_size):
    looks = share(inner(weights, grid))
    far = patch_size * spans(grid)
    return (looks[..., None] * far).mean((1, 3, 4))


@wrong("6.10", "its shape is (1, 1), and should be (1, 1, 2)")
def _(weights, grid, patch_size):
    at = places(grid).double() * patch_size
    return (share(inner(weights, grid)) * torch.cdist(at, at)).sum(-1).mean((1, 3))


# 6.11 Pointing


def hits(maps, boxes, grid, p, at=lambda y, x, p: (y * p + p / 2, x * p + p / 2), columns=None):
    """(image, patch): whether a patch's point lies in the box; (image, patch): brightest."""
    columns = columns or grid[1]
    inside = torch.zeros(maps.shape)
    for i, (top, left, bottom, right) in enumerate(boxes.tolist()):
        for k in range(maps.size(1)):
            y, x = at(*divmod(k, columns), p)
            inside[i, k] = top <= y < bottom and left <= x < right
    return inside, (maps >= maps.max(1, keepdim=True).values).double()


@wrong("6.11", "of several brightest patches only the first counts")
def _(maps, boxes, grid, patch_size):
    inside, _ = hits(maps, boxes, grid, patch_size)
    return inside[range(len(maps)), maps.max(1).indices]


@wrong("6.11", "one brightest patch in the box counts as a whole hit")
def _(maps, boxes, grid, patch_size):
    inside, best = hits(maps, boxes, grid, patch_size)
    return (inside * best).amax(1)


@wrong("6.11", "a hit only if all brightest patches lie in it")
def _(maps, boxes, grid, patch_size):
    inside, best = hits(maps, boxes, grid, patch_size)
    return 1 - ((1 - inside) * best).amax(1)


@wrong("6.11", "the patch's upper left corner is asked")
def _(maps, boxes, grid, patch_size):
    inside, best = hits(maps, boxes, grid, patch_size, lambda y, x, p: (y * p, x * p))
    return (inside * best).sum(1) / best.sum(1)


@wrong("6.11", "the lower right corner is asked")
def _(maps, boxes, grid, patch_size):
    inside, best = hits(maps, boxes, grid, patch_size, lambda y, x, p: (y * p + p, x * p + p))
    return (inside * best).sum(1) / best.sum(1)


@wrong("6.11", "the row of a patch is its number divided by the *columns*")
def _(maps, boxes, grid, patch_size):
    inside, best = hits(maps, boxes, grid, patch_size, columns=grid[0])
    return (inside * best).sum(1) / best.sum(1)


@wrong("6.11", "the box is read as left, top, right, bottom")
def _(maps, boxes, grid, patch_size):
    inside, best = hits(maps, boxes[:, [1, 0, 3, 2]], grid, patch_size)
    return (inside * best).sum(1) / best.sum(1)


@wrong("6.11", "a centre on the bottom or right edge is out")
def _(maps, boxes, grid, patch_size):
    grown = boxes + torch.tensor([0, 0, 1, 1])
    inside, best = hits(maps, grown, grid, patch_size)
    return (inside * best).sum(1) / best.sum(1)


@wrong("6.11", "the darkest patch is asked")
def _(maps, boxes, grid, patch_size):
    inside, best = hits(maps.max() - maps, boxes, grid, patch_size)
    return (inside * best).sum(1) / best.sum(1)


@wrong("6.11", "the mean over the images")
def _(maps, boxes, grid, patch_size):
    inside, best = hits(maps, boxes, grid, patch_size)
    return ((inside * best).sum(1) / best.sum(1)).mean()


# 6.12 Energy


def areas(boxes, grid, p):
    """(image, patch): the pixels of each patch that lie in the box, counted."""
    found = torch.zeros(len(boxes), math.prod(grid))
    for i, (top, left, bottom, right) in enumerate(boxes.tolist()):
        pixels = torch.zeros(grid[0] * p, grid[1] * p)
        pixels[top:bottom, left:right] = 1
        found[i] = rearrange(pixels, "(h p) (w q) -> (h w) (p q)", p=p, q=p).sum(-1)
    return found


@wrong("6.12", "two negative overlaps make a positive area")
def _(maps, boxes, grid, patch_size):
    p, found = patch_size, torch.zeros(maps.shape)
    for i, (top, left, bottom, right) in enumerate(boxes.tolist()):
        for k in range(maps.size(1)):
            y, x = k // grid[1] * p, k % grid[1] * p
            tall = min(y + p, bottom) - max(y, top)
            wide = min(x + p, right) - max(x, left)
            found[i, k] = tall * wide / p**2
    return (maps * found).sum(1) / maps.sum(1)


@wrong("6.12", "a patch that the box touches counts whole")
def _(maps, boxes, grid, patch_size):
    inside = areas(boxes, grid, patch_size) > 0
    return (maps * inside).sum(1) / maps.sum(1)


@wrong("6.12", "only patches that lie in the box entirely count")
def _(maps, boxes, grid, patch_size):
    inside = areas(boxes, grid, patch_size) == patch_size**2
    return (maps * inside).sum(1) / maps.sum(1)


@wrong("6.12", "a patch counts whole if most of it lies in the box")
def _(maps, boxes, grid, patch_size):
    inside = 2 * areas(boxes, grid, patch_size) >= patch_size**2
    return (maps * inside).sum(1) / maps.sum(1)


@wrong("6.12", "the sum in the box, not its share")
def _(maps, boxes, grid, patch_size):
    return (maps * areas(boxes, grid, patch_size)).sum(1) / patch_size**2


@wrong("6.12", "divided by the area in the box")
def _(maps, boxes, grid, patch_size):
    inside = areas(boxes, grid, patch_size)
    return (maps * inside).sum(1) / inside.sum(1)


@wrong("6.12", "divided by what lies outside")
def _(maps, boxes, grid, patch_size):
    inside = (maps * areas(boxes, grid, patch_size) / patch_size**2).sum(1)
    return inside / (maps.sum(1) - inside)


@wrong("6.12", "the box is read as left, top, right, bottom")
def _(maps, boxes, grid, patch_size):
    inside = areas(boxes[:, [1, 0, 3, 2]], grid, patch_size) / patch_size**2
    return (maps * inside).sum(1) / maps.sum(1)


@wrong("6.12", "the row of a patch is its number divided by the *columns*")
def _(maps, boxes, grid, patch_size):
    p = patch_size
    k = torch.arange(maps.size(1))
    y, x = k // grid[0] * p, k % grid[0] * p
    top, left, bottom, right = boxes.T.unsqueeze(-1)
    tall = F.relu((y + p).minimum(bottom) - y.maximum(top))
    wide = F.relu((x + p).minimum(right) - x.maximum(left))
    return (maps * tall * wide / p**2).sum(1) / maps.sum(1)


@wrong("6.12", "a patch counts by its pixels in the box")
def _(maps, boxes, grid, patch_size):
    return (maps * areas(boxes, grid, patch_size)).sum(1) / maps.sum(1)


# 6.13 Insertion


def come_back(score, patches, fill, order):
    shown = fill.detach().clone()
    points = [float(score(shown))]
    for k in order:
        shown[k] = patches[k].detach()
        points.append(float(score(shown)))
    return points


def straight(points):
    pairs = zip(points, points[1:], strict=False)
    return sum((a + b) / 2 for a, b in pairs) / (len(points) - 1)


def brightest_first(found):
    return sorted(range(len(found)), key=lambda k: -float(found[k]))


@wrong("6.13", "the darkest patch comes first")
def _(score, patches, fill, found):
    return straight(come_back(score, patches, fill, reversed(brightest_first(found))))


@wrong("6.13", "or the picture is taken apart (deletion)")
def _(score, patches, fill, found):
    return straight(come_back(score, fill, patches, brightest_first(found)))


@wrong("6.13", "places are taken for an order")
def _(score, patches, fill, found):
    order = brightest_first(found)
    return straight(
        come_back(score, patches, fill, [order.index(k) for k in range(len(order))])
    )


@wrong("6.13", "the map is not used")
def _(score, patches, fill, found):
    return straight(come_back(score, patches, fill, range(len(patches))))


@wrong("6.13", "each patch is taken away again before the next comes")
def _(score, patches, fill, found):
    points = [score(fill)]
    for k in brightest_first(found):
        only = (torch.arange(len(patches)) == k)[:, None]
        points.append(score(torch.where(only, patches, fill)))
    return straight(points)


@wrong("6.13", "the mean of all points")
def _(score, patches, fill, found):
    points = come_back(score, patches, fill, brightest_first(found))
    return sum(points) / len(points)


@wrong("6.13", "the points are added")
def _(score, patches, fill, found):
    return sum(come_back(score, patches, fill, brightest_first(found)))


@wrong("6.13", "every piece has the height of its left end")
def _(score, patches, fill, found):
    points = come_back(score, patches, fill, brightest_first(found))
    return sum(points[:-1]) / len(patches)


@wrong("6.13", "every piece has the height of its right end")
def _(score, patches, fill, found):
    points = come_back(score, patches, fill, brightest_first(found))
    return sum(points[1:]) / len(patches)


@wrong("6.13", "the area is not divided by the number of pieces")
def _(score, patches, fill, found):
    return straight(come_back(score, patches, fill, brightest_first(found))) * len(patches)


@wrong("6.13", "divided by the number of points")
def _(score, patches, fill, found):
    points = come_back(score, patches, fill, brightest_first(found))
    return torch.trapezoid(torch.tensor(points), dx=1 / len(points))


@wrong("6.13", "score is asked about patches of shape")
def _(score, patches, fill, found):
    return sum(score(patches[: k + 1]) for k in found.argsort(descending=True))


# 6.14 Rank correlation


@wrong("6.14", "an order is no rank")
def rank_correlation(one, other):
    ranks = [m.argsort(dim=1).double() for m in (one, other)]
    centred = [r - r.mean(dim=1, keepdim=True) for r in ranks]
    product = (centred[0] * centred[1]).sum(dim=1)
    return product / (centred[0].norm(dim=1) * centred[1].norm(dim=1))


def ranked(m):
    return (m[:, :, None] > m[:, None, :]).sum(-1).double()


def pearson(a, b):
    a, b = a.double(), b.double()
    return F.cosine_similarity(a - a.mean(1, True), b - b.mean(1, True), dim=1)


@wrong("6.14", "one of the maps is ranked, the other still in order")
def _(one, other):
    return pearson(ranked(one), other.sort(1).indices)


@wrong("6.14", "the second map is ranked, the first is still in order")
def _(one, other):
    return pearson(one.sort(1).indices, ranked(other))


@wrong("6.14", "the values are correlated")
def _(one, other):
    return pearson(one, other)


@wrong("6.14", "the ranks are not centred")
def _(one, other):
    return F.cosine_similarity(ranked(one), ranked(other), dim=1)


@wrong("6.14", "the product is not divided by the lengths")
def _(one, other):
    middle = (one.size(1) - 1) / 2
    return ((ranked(one) - middle) * (ranked(other) - middle)).sum(1)


@wrong("6.14", "the sign is turned")
def _(one, other):
    return -pearson(ranked(one), ranked(other))


@wrong("6.14", "ranked over the images")
def _(one, other):
    one, other = ranked(one.T).T, ranked(other.T).T
    one, other = one - one.mean(1, True), other - other.mean(1, True)
    return (one * other).sum(1) / (one.square().sum(1) * other.square().sum(1)).sqrt()


# 6.15 Cutting


def loop_cut(scores, forbidden):
    """Weights with looks (image, query, key) cut, token by token."""
    b, h, n, _ = scores.shape
    weights = torch.zeros_like(scores)
    for i in range(b):
        for q in range(n):
            for j in range(h):
                free = [k for k in range(n) if not forbidden(i, q, k)]
                weights[i, j, q, free] = scores[i, j, q, free].softmax(0)
    return weights


@wrong("6.15", "`who` and `whom` have changed places")
def _(scores, who, whom):
    return loop_cut(scores, lambda i, q, k: whom[i, q] and who[i, k] and q != k)


@wrong("6.15", "a token may not look at itself any more")
def _(scores, who, whom):
    return loop_cut(scores, lambda i, q, k: who[i, q] and whom[i, k])


@wrong("6.15", "cut where either is meant")
def _(scores, who, whom):
    return loop_cut(scores, lambda i, q, k: (who[i, q] or whom[i, k]) and q != k)


@wrong("6.15", "nobody looks at `whom` any more")
def _(scores, who, whom):
    return loop_cut(scores, lambda i, q, k: whom[i, k] and q != k)


@wrong("6.15", "looks at nobody but itself any more")
def _(scores, who, whom):
    return loop_cut(scores, lambda i, q, k: who[i, q] and q != k)


@wrong("6.15", "what should be cut is all that stays")
def _(scores, who, whom):
    return loop_cut(scores, lambda i, q, k: not (who[i, q] and whom[i, k]) and q != k)


def table(who, whom):
    """(image, 1, query, key), the diagonal free."""
    both = torch.einsum("iq, ik -> iqk", who.double(), whom.double())
    both.diagonal(dim1=1, dim2=2).zero_()
    return both[:, None]


@wrong("6.15", "the looks that stay do not share the weight")
def _(scores, who, whom):
    return F.softmax(scores, -1) * (1 - table(who, whom))


@wrong("6.15", "a score of 0 is still a look")
def _(scores, who, whom):
    return F.softmax(scores * (1 - table(who, whom)), -1)


@wrong("6.15", "each column sums to one instead of each row")
def _(scores, who, whom):
    return F.softmax(scores - 1e9 * table(who, whom), -2)


@wrong("6.15", "nothing is cut")
def _(scores, who, whom):
    scores.masked_fill(table(who, whom).bool(), -1e9)
    return F.softmax(scores, -1)


# 6.16 Enlarging


@wrong("6.16", "the map is laid side by side like tiles")
def _(found, grid, patch_size):
    return repeat(found, "b (h w) -> b (p h) (q w)", h=grid[0], p=patch_size, q=patch_size)


@wrong("6.16", "values that are none of the map's appear")
def _(found, grid, patch_size):
    size = (grid[0] * patch_size, grid[1] * patch_size)
    table = found.unflatten(1, grid)[:, None]
    return F.interpolate(table, size, mode="bilinear", align_corners=False).squeeze(1)


@wrong("6.16", "with the outermost values in the corners")
def _(found, grid, patch_size):
    size = (grid[0] * patch_size, grid[1] * patch_size)
    return torch.nn.UpsamplingBilinear2d(size)(found.unflatten(1, grid)[:, None])[:, 0]


def squares(pattern):
    def program(found, grid, patch_size):
        sizes = dict(h=grid[0], w=grid[1])
        return repeat(found, pattern, **sizes, p=patch_size, q=patch_size)

    return program


wrong("6.16", "patches are read column by column")(squares("b (w h) -> b (h p) (w q)"))
wrong("6.16", "the picture lies on its side")(squares("b (h w) -> b (w q) (h p)"))


@wrong("6.16", "the grid is (rows, columns)")
def _(found, grid, patch_size):
    tall, wide = grid
    sizes = dict(h=wide, w=tall, p=patch_size, q=patch_size)
    return repeat(found, "b (h w) -> b (h p) (w q)", **sizes)


@wrong("6.16", "each value is shared out among its pixels")
def _(found, grid, patch_size):
    whole = squares("b (h w) -> b (h p) (w q)")(found, grid, patch_size)
    return whole / (patch_size * patch_size)


@wrong("6.16", "only one pixel of each patch has its value")
def _(found, grid, patch_size):
    out = torch.zeros(len(found), *(side * patch_size for side in grid), dtype=found.dtype)
    for k in range(found.size(1)):
        y, x = divmod(k, grid[1])
        out[:, y * patch_size, x * patch_size] = found[:, k]
    return out


@wrong("6.16", "it has grown in height only")
def _(found, grid, patch_size):
    return repeat(found, "b (h w) -> b (h p) w", h=grid[0], p=patch_size)


# 6.17 to 6.19 Questions

wrong("6.17", "That is what stays through the residual alone")(1 / 4096)
wrong("6.17", "That is an even share")(0.005076)
wrong("6.17", "others return")((99 / 197) ** 12)
wrong("6.17", "That is one layer")(99 / 197)
wrong("6.17", "That is what has moved at least once")(0.9998)

wrong("6.18", "That many get something")(5)
wrong("6.18", "That is the entropy in bits")(2.0)
wrong("6.18", "That is the normalised entropy")(0.861)
wrong("6.18", "goes with a power of two, not of e")(7.39)
wrong("6.18", "That is one over the sum of squares")(1 / (1 / 4 + 4 / 64))
wrong("6.18", "That is the entropy with natural logarithms")(1.386)

wrong("6.19", "That is the share before squaring")(0.435)
wrong("6.19", "Square the values, not the share")(0.189)
wrong("6.19", "That is the box's share of the area")(16 / 64)
wrong("6.19", "That is one of the two rows")(0.3282)
wrong("6.19", "That is squared twice")(0.7597)
wrong("6.19", "Divided by what lies outside")(1.352)
