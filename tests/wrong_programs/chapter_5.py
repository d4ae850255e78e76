"""Wrong programs for chapter 5."""

import math

import torch
import torch.nn.functional as F

from wrong_programs import wrong

# 5.5 The loss


@wrong("5.5", "the smoothing changes nothing: ε is not used")
def _(logits, labels, smoothing=0.0):
    return F.nll_loss(F.log_softmax(logits, dim=1), labels)


@wrong("5.5", "ε is spread over the wrong classes only")
def _(logits, labels, smoothing=0.0):
    targets = torch.full_like(logits, smoothing / (logits.size(1) - 1))
    targets.scatter_(1, labels[:, None], 1 - smoothing)
    return -(targets * F.log_softmax(logits, 1)).sum(1).mean()


@wrong("5.5", "the targets do not sum to one")
def _(logits, labels, smoothing=0.0):
    targets = torch.full_like(logits, smoothing / logits.size(1))
    targets[range(len(labels)), labels] = 1 - smoothing
    return -(targets * F.log_softmax(logits, 1)).sum(1).mean()


@wrong("5.5", "every wrong class is asked for ε")
def _(logits, labels, smoothing=0.0):
    targets = torch.full_like(logits, smoothing)
    targets[range(len(labels)), labels] = 1.0
    return -(targets * F.log_softmax(logits, 1)).sum(1).mean()


@wrong("5.5", "the losses of the pictures are added")
def _(logits, labels, smoothing=0.0):
    logs = F.log_softmax(logits, 1)
    right = F.nll_loss(logs, labels, reduction="sum")
    return (1 - smoothing) * right - smoothing * logs.sum() / logits.size(1)


@wrong("5.5", "divided by the number of classes as well")
def _(logits, labels, smoothing=0.0):
    hot = F.one_hot(labels, logits.size(1)).double()
    targets = hot * (1 - smoothing) + smoothing / logits.size(1)
    return -(targets * F.log_softmax(logits, 1)).mean()


@wrong("5.5", "softmax taken twice")
def _(logits, labels, smoothing=0.0):
    p = F.log_softmax(F.softmax(logits, dim=1), dim=1)
    return (1 - smoothing) * F.nll_loss(p, labels) - smoothing * p.mean()


@wrong("5.5", "there is no logarithm")
def _(logits, labels, smoothing=0.0):
    p = F.softmax(logits, dim=1)
    return (1 - smoothing) * F.nll_loss(p, labels) - smoothing * p.mean()


@wrong("5.5", "the sign is turned")
def _(logits, labels, smoothing=0.0):
    p = F.log_softmax(logits, dim=1)
    return smoothing * p.mean() - (1 - smoothing) * F.nll_loss(p, labels)


@wrong("5.5", "the probabilities sum to one over the pictures")
def _(logits, labels, smoothing=0.0):
    p = F.log_softmax(logits, dim=-2)
    return (1 - smoothing) * F.nll_loss(p, labels) - smoothing * p.mean()


@wrong("5.5", "the logarithm is that to base 2")
def _(logits, labels, smoothing=0.0):
    p = F.log_softmax(logits, dim=1) * math.log2(math.e)
    return (1 - smoothing) * F.nll_loss(p, labels) - smoothing * p.mean()


@wrong("5.5", "large logits give inf or nan")
def _(logits, labels, smoothing=0.0):
    e = torch.exp(logits - logits.amax(1, keepdim=True))
    p = torch.log(e / e.sum(1, keepdim=True))
    return (1 - smoothing) * -p[range(len(labels)), labels].mean() - smoothing * p.mean()


@wrong("5.5", "it calls cross_entropy, which is what you are to write")
def _(logits, labels, smoothing=0.0):
    return torch.nn.CrossEntropyLoss(label_smoothing=smoothing)(logits, labels)


# 5.6 Parameter groups


def two(decayed, spared, weight_decay):
    return [
        dict(params=decayed, weight_decay=weight_decay),
        dict(params=spared, weight_decay=0.0),
    ]


SPARED = ("position", "class_token")


@wrong("5.6", "a bias or a norm is decayed")
def _(model, weight_decay):
    named = {n: p for n, p in model.named_parameters() if p.requires_grad}
    spared = [named.pop(n) for n in list(named) if n.split(".")[-1] in SPARED]
    return two(list(named.values()), spared, weight_decay)


@wrong("5.6", "norms have a `weight` too, with one axis")
def _(model, weight_decay):
    a, b = [], []
    for n, p in model.named_parameters():
        if p.requires_grad:
            (a if "weight" in n else b).append(p)
    return two(a, b, weight_decay)


@wrong("5.6", "what is not trained is in a group")
def _(model, weight_decay):
    a, b = [], []
    for n, p in model.named_parameters():
        (a if p.dim() >= 2 and not n.endswith(SPARED) else b).append(p)
    return two(a, b, weight_decay)


@wrong("5.6", "two axes *or more*")
def _(model, weight_decay):
    a, b = [], []
    for n, p in model.named_parameters():
        if p.requires_grad:
            (a if len(p.shape) == 2 and n not in SPARED else b).append(p)
    return two(a, b, weight_decay)


@wrong("5.6", "positions or class token are decayed")
def _(model, weight_decay):
    mine = [p for p in model.parameters() if p.requires_grad]
    big = [p for p in mine if len(p.shape) > 1]
    return two(big, [p for p in mine if len(p.shape) <= 1], weight_decay)


@wrong("5.6", "this is the chapter's rule")
def _(model, weight_decay):
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.ndim == 2]
    return two(matrices, [p for p in trained if p.ndim != 2], weight_decay)


@wrong("5.6", "the two groups have changed places")
def _(model, weight_decay):
    a, b = [], []
    for n, p in model.named_parameters():
        if p.requires_grad:
            (b if p.dim() >= 2 and not n.endswith(SPARED) else a).append(p)
    return two(a, b, weight_decay)


@wrong("5.6", "what is not decayed is in no group")
def _(model, weight_decay):
    a = [p for n, p in model.named_parameters() if p.dim() > 1 and not n.endswith(SPARED)]
    return [{"params": [p for p in a if p.requires_grad], "weight_decay": weight_decay}]


@wrong("5.6", "gives nothing back")
def _(model, weight_decay):
    for group in model.parameters():
        group.weight_decay = weight_decay


# 5.7 The schedule


def plan(first, rise, fall):
    def program(step, steps, peak, warmup, floor=0.0):
        count = first(steps * warmup)
        if step < count:
            return rise(step, count) * peak
        return fall(step - count, steps - count, steps, peak, floor)

    return program


def at_least_one(share):
    return max(round(share), 1)


def straight(step, count):
    return (step + 1) / count


def bend(share, peak, floor):
    return floor + 0.5 * (peak - floor) * (1 + math.cos(share * math.pi))


def right_fall(k, left, steps, peak, floor):
    return bend(k / left, peak, floor)


@wrong("5.7", "there is no warm-up")
def _(step, steps, peak, warmup, floor=0.0):
    return bend(step / steps, peak, floor)


@wrong("5.7", "the warm-up starts at the floor")
def _(step, steps, peak, warmup, floor=0.0):
    count = at_least_one(steps * warmup)
    if step < count:
        up = (step + 1) / count
        return up * peak + (1 - up) * floor
    return bend((step - count) / (steps - count), peak, floor)


wrong("5.7", "the first rate is 0: the first step is wasted")(
    plan(at_least_one, lambda step, count: step / count, right_fall)
)
wrong("5.7", "the warm-up is rounded down to no step at all")(plan(round, straight, right_fall))
wrong("5.7", "the cosine has begun already when the warm-up ends")(
    plan(
        at_least_one,
        straight,
        lambda k, left, n, peak, floor: bend((k + n - left) / n, peak, floor),
    )
)
wrong("5.7", "the cosine starts when the warm-up ends but is too slow")(
    plan(at_least_one, straight, lambda k, left, n, peak, floor: bend(k / n, peak, floor))
)
wrong("5.7", "it reaches the floor one step early")(
    plan(
        at_least_one,
        straight,
        lambda k, left, n, peak, floor: bend(k / max(left - 1, 1), peak, floor),
    )
)
wrong("5.7", "a whole cosine goes down and up again")(
    plan(
        at_least_one, straight, lambda k, left, n, peak, floor: bend(2 * k / left, peak, floor)
    )
)
wrong("5.7", "it falls in a straight line")(
    plan(
        at_least_one,
        straight,
        lambda k, left, n, peak, floor: peak - (peak - floor) * k / left,
    )
)
wrong("5.7", "the floor is added on top")(
    plan(
        at_least_one,
        straight,
        lambda k, left, n, peak, floor: floor + bend(k / left, peak, 0),
    )
)
wrong("5.7", "the fall is cut off at the floor")(
    plan(
        at_least_one,
        straight,
        lambda k, left, n, peak, floor: max(bend(k / left, peak, 0), floor),
    )
)
wrong("5.7", "it falls to zero: the floor is not used")(
    plan(at_least_one, straight, lambda k, left, n, peak, floor: bend(k / left, peak, 0))
)
wrong("5.7", "a half is missing")(
    plan(
        at_least_one,
        straight,
        lambda k, left, n, peak, floor: (
            floor + (peak - floor) * (1 + math.cos(math.pi * k / left))
        ),
    )
)

# 5.8 A crop


def edge(images, p):
    return F.pad(images, (p, p, p, p), mode="replicate")


def cut(padded, images, tops, lefts):
    h, w = images.shape[-2:]
    return torch.cat(
        [
            padded[i : i + 1, :, int(t) : int(t) + h, int(x) : int(x) + w]
            for i, (t, x) in enumerate(zip(tops, lefts, strict=True))
        ]
    )


@wrong("5.8", "the border is black")
def _(images, padding, top, left):
    return cut(F.pad(images, [padding] * 4), images, top, left)


@wrong("5.8", "the border is a mirror")
def _(images, padding, top, left):
    b, c, h, w = images.shape

    def mirror(k, n):
        k = k.abs()
        return torch.where(k >= n, 2 * (n - 1) - k, k)

    y = mirror(top[:, None] - padding + torch.arange(h), h)
    x = mirror(left[:, None] - padding + torch.arange(w), w)
    if padding >= min(h, w):
        raise ValueError("too small to be mirrored")
    return torch.stack([images[i][:, y[i]][:, :, x[i]] for i in range(b)])


@wrong("5.8", "what leaves on one side comes in on the other")
def _(images, padding, top, left):
    b, c, h, w = images.shape
    y = (top[:, None] - padding + torch.arange(h)) % h
    x = (left[:, None] - padding + torch.arange(w)) % w
    return torch.stack([images[i][:, y[i]][:, :, x[i]] for i in range(b)])


@wrong("5.8", "top and left have changed places")
def _(images, padding, top, left):
    return cut(edge(images, padding), images, left, top)


@wrong("5.8", "it moves the wrong way")
def _(images, padding, top, left):
    return cut(edge(images, padding), images, 2 * padding - top, 2 * padding - left)


@wrong("5.8", "every picture is moved alike")
def _(images, padding, top, left):
    h, w = images.shape[-2:]
    return edge(images, padding)[:, :, top[0] : top[0] + h, left[0] : left[0] + w]


@wrong("5.8", "top and left count in the padded picture")
def _(images, padding, top, left):
    b, c, h, w = images.shape
    y = (top.clamp(max=padding)[:, None] + torch.arange(h)).clamp(0, h - 1)
    x = (left.clamp(max=padding)[:, None] + torch.arange(w)).clamp(0, w - 1)
    return torch.stack([images[i][:, y[i]][:, :, x[i]] for i in range(b)])


@wrong("5.8", "the picture is moved along one axis only")
def _(images, padding, top, left):
    return cut(edge(images, padding), images, top, [padding] * len(top))


@wrong("5.8", "still to be cut to its old size")
def _(images, padding, top, left):
    return edge(images, padding)


@wrong("5.8", "nothing moves")
def _(images, padding, top, left):
    return images.clone()


# 5.9 Normalise


def per_channel(numbers):
    return torch.tensor(numbers).reshape(1, -1, 1, 1)


@wrong("5.9", "the pixels are still 0…255")
def _(images, mean, std):
    return (images - per_channel(mean)) / per_channel(std)


@wrong("5.9", "divide by 255, not by 256")
def _(images, mean, std):
    return (images / 256 - per_channel(mean)) / per_channel(std)


@wrong("5.9", "the mean goes first")
def _(images, mean, std):
    return images / (255 * per_channel(std)) - per_channel(mean)


@wrong("5.9", "mean and std are lined up with the width")
def _(images, mean, std):
    return (images / 255 - torch.tensor(mean)) / torch.tensor(std)


@wrong("5.9", "divided by the square of std")
def _(images, mean, std):
    return (images / 255 - per_channel(mean)) / per_channel(std).square()


@wrong("5.9", "divided by the root of std")
def _(images, mean, std):
    return (images / 255 - per_channel(mean)) * per_channel(std).rsqrt()


@wrong("5.9", "that is the way back")
def _(images, mean, std):
    return per_channel(mean) + per_channel(std) * images.float() / 255


@wrong("5.9", "the pictures' own mean and deviation are used")
def _(images, mean, std):
    x = images.transpose(0, 1).flatten(1).double()
    x = (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True, correction=0)
    return x.reshape(images.transpose(0, 1).shape).transpose(0, 1).float()


# 5.10 AdamW


def moments(g, m, v, b1=0.9, b2=0.999):
    return torch.lerp(g, m, b1), torch.lerp(g * g, v, b2)


def moved(w, m, v, lr, decay):
    return w * (1 - lr * decay) - lr * m / (torch.sqrt(v) + 1e-8)


@wrong("5.10", "the averages are not corrected for their start at 0")
def _(weight, gradient, average, square, step, rate, decay):
    m, v = moments(gradient, average, square)
    return moved(weight, m, v, rate, decay), m, v


@wrong("5.10", "only one of the two averages is corrected")
def _(weight, gradient, average, square, step, rate, decay):
    m, v = moments(gradient, average, square)
    return moved(weight, m / (1 - 0.9**step), v, rate, decay), m, v


@wrong("5.10", "the square is not squared")
def _(weight, gradient, average, square, step, rate, decay):
    m = torch.lerp(gradient, average, 0.9)
    v = torch.lerp(gradient, square, 0.999)
    return moved(weight, m / (1 - 0.9**step), v / (1 - 0.999**step), rate, decay), m, v


@wrong("5.10", "there is no root")
def _(weight, gradient, average, square, step, rate, decay):
    m, v = moments(gradient, average, square)
    move = (m / (1 - 0.9**step)) / (v / (1 - 0.999**step) + 1e-8)
    return weight - rate * (move + decay * weight), m, v


@wrong("5.10", "0.9 and 0.999 have changed places")
def _(weight, gradient, average, square, step, rate, decay):
    m, v = moments(gradient, average, square, 0.999, 0.9)
    return moved(weight, m / (1 - 0.999**step), v / (1 - 0.9**step), rate, decay), m, v


@wrong("5.10", "it goes up the slope")
def _(weight, gradient, average, square, step, rate, decay):
    m, v = moments(gradient, average, square)
    move = (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
    return weight * (1 - rate * decay) + rate * move, m, v


@wrong("5.10", "decay went into the gradient")
def _(weight, gradient, average, square, step, rate, decay):
    m, v = moments(torch.add(gradient, weight, alpha=decay), average, square)
    return moved(weight, m / (1 - 0.9**step), v / (1 - 0.999**step), rate, 0), m, v


@wrong("5.10", "the decay is not multiplied by the rate")
def _(weight, gradient, average, square, step, rate, decay):
    m, v = moments(gradient, average, square)
    new = moved(weight, m / (1 - 0.9**step), v / (1 - 0.999**step), rate, 0)
    return new - decay * weight, m, v


@wrong("5.10", "the weight does not decay")
def _(weight, gradient, average, square, step, rate, decay):
    m, v = moments(gradient, average, square)
    return moved(weight, m / (1 - 0.9**step), v / (1 - 0.999**step), rate, 0), m, v


@wrong("5.10", "the corrected averages are carried on")
def _(weight, gradient, average, square, step, rate, decay):
    m, v = moments(gradient, average, square)
    m, v = m / (1 - 0.9**step), v / (1 - 0.999**step)
    return moved(weight, m, v, rate, decay), m, v


@wrong("5.10", "the averages come back as they went in")
def _(weight, gradient, average, square, step, rate, decay):
    m, v = moments(gradient, average, square)
    new = moved(weight, m / (1 - 0.9**step), v / (1 - 0.999**step), rate, decay)
    return new, average, square


@wrong("5.10", "10⁻⁸ is added under the root")
def _(weight, gradient, average, square, step, rate, decay):
    m, v = moments(gradient, average, square)
    size = torch.sqrt(v / (1 - 0.999**step) + 1e-8)
    return weight * (1 - rate * decay) - rate * m / (1 - 0.9**step) / size, m, v


@wrong("5.10", "the share is taken of the weight after its move")
def _(weight, gradient, average, square, step, rate, decay):
    m, v = moments(gradient, average, square)
    new = moved(weight, m / (1 - 0.9**step), v / (1 - 0.999**step), rate, 0)
    return new - rate * decay * new, m, v


@wrong("5.10", "steps count from 1")
def _(weight, gradient, average, square, step, rate, decay):
    m, v = moments(gradient, average, square)
    t = step - 1
    return moved(weight, m / (1 - 0.9**t), v / (1 - 0.999**t), rate, decay), m, v


# 5.11 Clipping


@wrong("5.11", "each gradient is clipped by its own length")
def _(gradients, longest):
    return [g * min(1, longest / max(float(g.norm()), 1e-9)) for g in gradients]


@wrong("5.11", "every number is cut off by itself")
def _(gradients, longest):
    return [torch.minimum(g.abs(), g * 0 + longest) * g.sign() for g in gradients]


@wrong("5.11", "a gradient that is short enough is made longer")
def _(gradients, longest):
    length = torch.stack([g.norm() for g in gradients]).norm()
    return [longest * (g / length) for g in gradients]


@wrong("5.11", "the length becomes 1")
def _(gradients, longest):
    length = torch.stack([g.norm() for g in gradients]).norm()
    return [g / length for g in gradients] if length > longest else list(gradients)


@wrong("5.11", "what is too long is thrown away")
def _(gradients, longest):
    length = torch.stack([g.norm() for g in gradients]).norm()
    return [torch.zeros_like(g) for g in gradients] if length > longest else list(gradients)


def by(length):
    def program(gradients, longest):
        size = float(length(gradients))
        return [g * (longest / size) if size > longest else g for g in gradients]

    return program


wrong("5.11", "the lengths of the parts are added")(by(lambda gs: sum(map(torch.norm, gs))))
wrong("5.11", "the root is missing")(by(lambda gs: sum(g.square().sum() for g in gs)))
wrong("5.11", "the sum of amounts is taken for the length")(
    by(lambda gs: torch.cat([g.ravel() for g in gs]).norm(p=1))
)
wrong("5.11", "the largest number is taken for the length")(
    by(lambda gs: torch.cat([g.ravel() for g in gs]).norm(p=torch.inf))
)

# 5.12 A planted fault


@wrong("5.12", "the means of the parts are added as they are, in loss and gradient")
def accumulate(model, optimizer, images, labels, size):
    optimizer.zero_grad()
    total = 0.0
    for some, truth in zip(images.split(size), labels.split(size), strict=True):
        loss = F.cross_entropy(model(some), truth)
        loss.backward()
        total += loss.item()
    optimizer.step()
    return total


def one_by_one(model, images, labels, size):
    for first in range(0, len(images), size):
        truth = labels[first : first + size]
        yield F.cross_entropy(model(images[first : first + size]), truth), len(truth)


@wrong("5.12", "the loss is right, the gradient is not")
def _(model, optimizer, images, labels, size):
    model.zero_grad()
    total = 0.0
    for loss, count in one_by_one(model, images, labels, size):
        loss.backward()
        total += loss.item() * count
    optimizer.step()
    return total / len(images)


@wrong("5.12", "the gradient is right, the loss that comes back is not")
def _(model, optimizer, images, labels, size):
    model.zero_grad()
    total = 0.0
    for loss, count in one_by_one(model, images, labels, size):
        (loss * (count / len(images))).backward()
        total += loss.item()
    optimizer.step()
    return total


@wrong("5.12", "parts are averaged as if they were equal")
def _(model, optimizer, images, labels, size):
    model.zero_grad()
    losses = [loss for loss, _ in one_by_one(model, images, labels, size)]
    mean = torch.stack(losses).mean()
    mean.backward()
    optimizer.step()
    return mean.item()


@wrong("5.12", "only the last part counts")
def _(model, optimizer, images, labels, size):
    total = 0.0
    for loss, count in one_by_one(model, images, labels, size):
        model.zero_grad()
        (loss * count / len(images)).backward()
        total += loss.item() * count / len(images)
    optimizer.step()
    return total


@wrong("5.12", "gradients from before this batch are still in it")
def _(model, optimizer, images, labels, size):
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


@wrong("5.12", "a step after each part")
def _(model, optimizer, images, labels, size):
    model.zero_grad()
    total = 0.0
    for loss, count in one_by_one(model, images, labels, size):
        loss = loss * count / len(images)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total


@wrong("5.12", "where is the step?")
def _(model, optimizer, images, labels, size):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    return loss.item()


@wrong("5.12", "divided by the size of a part")
def _(model, optimizer, images, labels, size):
    optimizer.zero_grad()
    total = sum(loss / size for loss, _ in one_by_one(model, images, labels, size))
    total.backward()
    optimizer.step()
    return total.item()


@wrong("5.12", "divided by the size of the batch")
def _(model, optimizer, images, labels, size):
    optimizer.zero_grad()
    total = sum(loss for loss, _ in one_by_one(model, images, labels, size)) / len(images)
    total.backward()
    optimizer.step()
    return total.item()


# 5.13 One step


def scaled(images):
    return images / 127.5 - 1


def usual(model, images, labels, config):
    return F.cross_entropy(
        model(scaled(images)), labels, label_smoothing=config.label_smoothing
    )


def go(model, optimizer, loss, config):
    model.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
    optimizer.step()


def set_rate(optimizer, rate):
    for k in range(len(optimizer.param_groups)):
        optimizer.param_groups[k]["lr"] = rate


@wrong("5.13", "the rate is not set")
def _(model, optimizer, images, labels, config, rate):
    optimizer.lr = rate
    loss = usual(model, images, labels, config)
    if math.isfinite(loss.item()):
        go(model, optimizer, loss, config)
    return loss.item()


@wrong("5.13", "the rate is set in the first group only")
def _(model, optimizer, images, labels, config, rate):
    optimizer.param_groups[0]["lr"] = rate
    loss = usual(model, images, labels, config)
    if math.isfinite(loss.item()):
        go(model, optimizer, loss, config)
    return loss.item()


@wrong("5.13", "the gradients of the step before are still in it")
def _(model, optimizer, images, labels, config, rate):
    set_rate(optimizer, rate)
    loss = usual(model, images, labels, config)
    if math.isfinite(loss.item()):
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
    return loss.item()


@wrong("5.13", "or the gradients are cleared between backward and step")
def _(model, optimizer, images, labels, config, rate):
    set_rate(optimizer, rate)
    loss = usual(model, images, labels, config)
    if math.isfinite(loss.item()):
        loss.backward()
        optimizer.zero_grad()
        optimizer.step()
    return loss.item()


@wrong("5.13", "the gradient is not clipped when step uses it")
def _(model, optimizer, images, labels, config, rate):
    set_rate(optimizer, rate)
    loss = usual(model, images, labels, config)
    if math.isfinite(loss.item()):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
    return loss.item()


@wrong("5.13", "each number of the gradient is clipped by itself")
def _(model, optimizer, images, labels, config, rate):
    set_rate(optimizer, rate)
    loss = usual(model, images, labels, config)
    if math.isfinite(loss.item()):
        optimizer.zero_grad()
        loss.backward()
        for p in model.parameters():
            p.grad.clamp_(-config.clip, config.clip)
        optimizer.step()
    return loss.item()


@wrong("5.13", "the loss has no label smoothing")
def _(model, optimizer, images, labels, config, rate):
    set_rate(optimizer, rate)
    loss = F.cross_entropy(model(scaled(images)), labels)
    if math.isfinite(loss.item()):
        go(model, optimizer, loss, config)
    return loss.item()


@wrong("5.13", "the model gets the whole numbers of 0…255")
def _(model, optimizer, images, labels, config, rate):
    set_rate(optimizer, rate)
    loss = usual(model, (images + 1.0) * 127.5, labels, config)
    if math.isfinite(loss.item()):
        go(model, optimizer, loss, config)
    return loss.item()


@wrong("5.13", "a loss of nan went into the weights")
def _(model, optimizer, images, labels, config, rate):
    set_rate(optimizer, rate)
    loss = usual(model, images, labels, config)
    go(model, optimizer, loss, config)
    return loss.item()


@wrong("5.13", "a skipped step hides its loss")
def _(model, optimizer, images, labels, config, rate):
    set_rate(optimizer, rate)
    loss = usual(model, images, labels, config)
    if math.isfinite(loss.item()):
        go(model, optimizer, loss, config)
    return loss.nan_to_num().item()


@wrong("5.13", "it steps twice")
def _(model, optimizer, images, labels, config, rate):
    set_rate(optimizer, rate)
    loss = usual(model, images, labels, config)
    if math.isfinite(loss.item()):
        go(model, optimizer, loss, config)
        optimizer.step()
    return loss.item()


# 5.14 A snapshot


def cloned(state):
    """A deep copy by hand."""
    if isinstance(state, torch.Tensor):
        return state.clone()
    if isinstance(state, dict):
        return {key: cloned(value) for key, value in state.items()}
    return [cloned(value) for value in state] if isinstance(state, list) else state


class Kept:
    """Right but for what a child does otherwise."""

    def keep(self, model, optimizer, dice):
        self.weights = self.copy_weights(model)
        self.averages = self.copy_averages(optimizer)
        self.numbers = dice.get_state()

    def put_back(self, model, optimizer, dice):
        model.load_state_dict(self.weights, strict=False)
        optimizer.load_state_dict(self.going_back(self.averages))
        self.restore(dice)

    def copy_weights(self, model):
        return cloned(dict(model.state_dict()))

    def copy_averages(self, optimizer):
        return cloned(optimizer.state_dict())

    def going_back(self, averages):
        return cloned(averages)

    def restore(self, dice):
        dice.set_state(self.numbers)


@wrong("5.14", "what is kept goes on changing")
class _(Kept):
    def copy_weights(self, model):
        return dict(model.state_dict())

    def copy_averages(self, optimizer):
        return dict(optimizer.state_dict())


@wrong("5.14", "or were not copied when they were kept")
class _(Kept):
    def copy_weights(self, model):
        return model.state_dict().copy()


@wrong("5.14", "the weights stay where training took them: they are not put back")
class _(Kept):
    def put_back(self, model, optimizer, dice):
        optimizer.load_state_dict(cloned(self.averages))
        dice.set_state(self.numbers)


@wrong("5.14", "AdamW's averages go on changing: copy them, too")
class _(Kept):
    def copy_averages(self, optimizer):
        return optimizer.state_dict().copy()


@wrong("5.14", "it works once")
class _(Kept):
    def going_back(self, averages):
        return averages


@wrong("5.14", "AdamW's averages are not put back")
class _(Kept):
    def put_back(self, model, optimizer, dice):
        model.load_state_dict(self.weights)
        dice.set_state(self.numbers)


@wrong("5.14", "the generator's state is not put back")
class _(Kept):
    def restore(self, dice):
        torch.set_rng_state(torch.get_rng_state())


@wrong("5.14", "parameters are put back, buffers are not")
class _(Kept):
    def copy_weights(self, model):
        return {name: p.detach().clone() for name, p in model.named_parameters()}


# 5.15 to 5.17 Questions

wrong("5.15", "The last, smaller batch of every epoch is a step, too")(18 * 390)
wrong("5.15", "round up *before* you multiply")(7032)
wrong("5.15", "There is no part of a step")(18 * 390.625)
wrong("5.15", "That is one epoch")(391)
wrong("5.15", "That is how many pictures are seen")(900_000)
wrong("5.15", "The 128 are pictures in a batch")(2304)

wrong("5.16", "That is the derivative by the *probability*")(-10 / 3)
wrong("5.16", "The logit stands in the loss twice")(0.3)
wrong("5.16", "look at the sign")(0.7)
wrong("5.16", "That is the derivative of the probability")(0.3 * 0.7)
wrong("5.16", "and −1 / p stands before it: multiply")(-0.3 * 0.7)
wrong("5.16", "That is the slope by the logit of the other class")(0.2)
wrong("5.16", "That is without the log of the sum")(-1.0)

wrong("5.17", "That is the value of the chapter, for 0.1")(0.5)
wrong("5.17", "With smoothing the loss cannot reach zero")(0)
wrong("5.17", "The nine other classes are asked for something, too")(0.163)
wrong("5.17", "0.82, not 0.8")(0.94)
wrong("5.17", "That is the loss where nothing was learned")(2.303)
wrong("5.17", "That is the cost of the right class, not weighed")(0.198)
wrong("5.17", "There are nine other classes")(0.241)

# 5.18 Accuracy


def is_hit(model, images, labels, best):
    """(image,), asked all at once."""
    order = model(images).detach().argsort(dim=1, descending=True)
    return (order[:, :best] == labels.unsqueeze(1)).sum(1)


def evaluating(count):
    """A program that minds the mode, around one that counts."""

    def program(model, images, labels, best=1, size=500):
        before = model.training
        model.train(False)
        found = count(model, images, labels, best, size)
        model.train(before)
        return found

    return program


@wrong("5.18", "the model still trains while it is asked")
def _(model, images, labels, best=1, size=500):
    parts = zip(images.split(size), labels.split(size), strict=True)
    return torch.cat([is_hit(model, *part, best) for part in parts]).double().mean()


@wrong("5.18", "the model is left in evaluation mode")
def _(model, images, labels, best=1, size=500):
    return is_hit(model.eval(), images, labels, best).double().mean().item()


@wrong("5.18", "the model is left in training mode")
def _(model, images, labels, best=1, size=500):
    hits = is_hit(model.eval(), images, labels, best).sum().item()
    model.train()
    return hits / len(images)


@wrong("5.18", "the mean of the batches' shares")
@evaluating
def _(model, images, labels, best, size):
    shares = [
        is_hit(model, images[k : k + size], labels[k : k + size], best).double().mean()
        for k in range(0, len(images), size)
    ]
    return torch.stack(shares).mean()


@wrong("5.18", "only the largest logit is asked")
@evaluating
def _(model, images, labels, best, size):
    return (model(images).argmax(1) == labels).double().mean().item()


@wrong("5.18", "the smallest logits are asked")
@evaluating
def _(model, images, labels, best, size):
    order = model(images).argsort(1)[:, :best]
    return (order == labels[:, None]).any(1).double().mean().item()


@wrong("5.18", "hits are counted; their share is asked for")
@evaluating
def _(model, images, labels, best, size):
    return is_hit(model, images, labels, best).sum().item()


@wrong("5.18", "divided by `best` as well")
@evaluating
def _(model, images, labels, best, size):
    order = model(images).argsort(1, descending=True)[:, :best]
    return (order == labels[:, None]).double().mean().item()


@wrong("5.18", "that is the share of misses")
@evaluating
def _(model, images, labels, best, size):
    return (is_hit(model, images, labels, best) == 0).double().mean().item()
