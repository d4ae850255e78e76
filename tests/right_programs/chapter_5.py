"""Right programs for chapter 5."""

import io
import math

import torch
import torch.nn.functional as F

from right_programs import right


@right("5.5")
def _(logits, labels, smoothing=0.0):
    targets = torch.full_like(logits, smoothing / logits.size(1))
    targets[range(len(labels)), labels] += 1 - smoothing
    return -(targets * F.log_softmax(logits, 1)).sum() / len(logits)


@right("5.5")
def _(logits, labels, smoothing=0.0):
    total = 0
    for row, label in zip(logits, labels, strict=True):
        logs = row - row.max() - torch.log(torch.exp(row - row.max()).sum())
        for k in range(len(row)):
            total = total - ((k == label) * (1 - smoothing) + smoothing / len(row)) * logs[k]
    return total / len(logits)


@right("5.6")
def _(model, weight_decay):
    groups = {True: [], False: []}
    for name, p in model.named_parameters():
        last = name.split(".")[-1]
        if p.requires_grad:
            groups[p.dim() >= 2 and last not in ("position", "class_token")] += [p]
    return (
        {"params": groups[True], "weight_decay": weight_decay},
        {"weight_decay": 0, "params": groups[False]},
    )


@right("5.7")
def _(step, steps, peak, warmup, floor=0.0):
    n = max(round(warmup * steps), 1)
    angle = torch.tensor((step - n) / (steps - n) * math.pi) if steps > n else torch.zeros(())
    return torch.where(
        torch.tensor(step < n),
        torch.tensor(peak * (step + 1) / n),
        (peak + floor) / 2 + (peak - floor) / 2 * torch.cos(angle),
    )


@right("5.8")
def _(images, padding, top, left):
    h, w = images.shape[-2:]
    padded = F.pad(images, (padding,) * 4, "replicate")
    places = enumerate(zip(top, left, strict=True))
    return torch.stack([padded[i, :, t : t + h, x : x + w] for i, (t, x) in places])


@right("5.8")
def _(images, padding, top, left):
    b, c, h, w = images.shape
    out = torch.empty_like(images)
    for i in range(b):
        for y in range(h):
            for x in range(w):
                row = min(max(y + int(top[i]) - padding, 0), h - 1)
                column = min(max(x + int(left[i]) - padding, 0), w - 1)
                out[i, :, y, x] = images[i, :, row, column]
    return out


@right("5.9")
def _(images, mean, std):
    channels = [
        (images[:, k].double() - 255 * mean[k]) / (255 * std[k]) for k in range(len(mean))
    ]
    return torch.stack(channels, dim=1)


@right("5.9")
def _(images, mean, std):
    last = images.float().div(255).movedim(1, -1)
    return ((last - torch.tensor(mean)) / torch.tensor(std)).movedim(-1, 1)


@right("5.10")
def _(weight, gradient, average, square, step, rate, decay):
    m = torch.lerp(average, gradient, 0.1)
    v = square.mul(0.999).addcmul(gradient, gradient, value=0.001)
    size = v.sqrt() / math.sqrt(1 - 0.999**step) + 1e-8
    return [weight * (1 - rate * decay) - rate / (1 - 0.9**step) * m / size, m, v]


@right("5.10")
def _(weight, gradient, average, square, step, rate, decay):
    p = torch.nn.Parameter(weight.detach().clone())
    other = torch.optim.AdamW([p], lr=rate, weight_decay=decay)
    p.grad = gradient.clone()
    other.state[p] = {
        "step": torch.tensor(step - 1.0),
        "exp_avg": average.clone(),
        "exp_avg_sq": square.clone(),
    }
    if gradient.requires_grad:  # an optimizer is no way for gradients
        return right_by_hand(weight, gradient, average, square, step, rate, decay)
    other.step()
    return p.detach(), other.state[p]["exp_avg"], other.state[p]["exp_avg_sq"]


def right_by_hand(w, g, m, v, t, rate, decay):
    m, v = m + (g - m) / 10, v + (g * g - v) / 1000
    return (
        w - rate * (decay * w + m / (1 - 0.9**t) / ((v / (1 - 0.999**t)) ** 0.5 + 1e-8)),
        m,
        v,
    )


@right("5.11")
def _(gradients, longest):
    length = math.sqrt(sum(float((g * g).sum()) for g in gradients))
    return gradients if length <= longest else [longest * g / length for g in gradients]


@right("5.11")
def _(gradients, longest):
    length = torch.cat([g.flatten() for g in gradients]).norm()
    return tuple(g * min(1.0, float(longest / (length + 1e-9))) for g in gradients)


@right("5.12")
def _(model, optimizer, images, labels, size):
    model.zero_grad()
    total = 0
    for first in range(0, len(images), size):
        part = slice(first, first + size)
        loss = F.cross_entropy(model(images[part]), labels[part], reduction="sum")
        (loss / len(images)).backward()
        total += loss.detach()
    optimizer.step()
    return total / len(images)


@right("5.12")
def _(model, optimizer, images, labels, size):
    optimizer.zero_grad()
    loss = F.cross_entropy(torch.cat([model(part) for part in images.split(size)]), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


@right("5.13")
def _(model, optimizer, images, labels, config, rate):
    optimizer.zero_grad()
    scores = model((images.float() / 255 - 0.5) / 0.5).log_softmax(1)
    loss = -(1 - config.label_smoothing) * scores[range(len(labels)), labels].mean()
    loss = loss - config.label_smoothing * scores.mean()
    if torch.isnan(loss) or torch.isinf(loss):
        return loss.item()
    loss.backward()
    norm = sum((p.grad**2).sum() for p in model.parameters()) ** 0.5
    for p in model.parameters():
        p.grad.mul_(min(1.0, config.clip / norm.item()))
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    return loss.item()


@right("5.14")
class _:
    def __init__(self):
        self.file = io.BytesIO()

    def keep(self, model, optimizer, dice):
        torch.save((model.state_dict(), optimizer.state_dict(), dice.get_state()), self.file)

    def put_back(self, model, optimizer, dice):
        self.file.seek(0)
        weights, averages, drawn = torch.load(self.file)
        model.load_state_dict(weights)
        optimizer.load_state_dict(averages)
        dice.set_state(drawn)


@right("5.18")
def _(model, images, labels, best=1, size=500):
    before = [m.training for m in model.modules()]
    model.eval()
    scores = torch.cat([model(part) for part in images.split(size)])
    for module, mode in zip(model.modules(), before, strict=True):
        module.training = mode
    mine = scores[torch.arange(len(labels)), labels]
    return ((scores > mine[:, None]).sum(1) < best).double().mean()
