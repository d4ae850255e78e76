"""Wrong programs for chapter 3."""

import math
import time

import torch
import torch.nn.functional as F
from torch import nn

from wrong_programs import wrong

# 3.5 Attention


@wrong("3.5", "each column sums to one instead of each row: softmax over the wrong axis?")
def _(q, k, v):
    s = torch.matmul(q, k.transpose(-2, -1)) / math.sqrt(q.size(-1))
    w = F.softmax(s, dim=-2)
    return torch.matmul(w, v), w


@wrong("3.5", "the scores are not divided: √d is missing")
def _(q, k, v):
    w = F.softmax(torch.matmul(q, k.transpose(-2, -1)), dim=-1)
    return torch.matmul(w, v), w


@wrong("3.5", "divided by d instead of its root")
def _(q, k, v):
    w = torch.softmax(q @ k.transpose(-1, -2) / k.size(-1), dim=-1)
    return w @ v, w


@wrong("3.5", "divided by the root of the number of keys")
def _(q, k, v):
    w = torch.softmax(q @ k.transpose(-1, -2) * k.size(-2) ** -0.5, dim=-1)
    return w @ v, w


@wrong("3.5", "divided by the root of the values' width")
def _(q, k, v):
    w = torch.softmax(q @ k.mT / v.size(-1) ** 0.5, dim=-1)
    return w @ v, w


@wrong("3.5", "the keys are averaged; what a query collects are the values")
def _(q, k, v):
    w = torch.softmax(q @ k.mT / math.sqrt(q.size(-1)), dim=-1)
    return w @ k, w


@wrong("3.5", "q and k have changed places")
def _(q, k, v):
    w = torch.softmax(torch.einsum("...id,...jd->...ji", q, k) / q.size(-1) ** 0.5, dim=-1)
    return w @ v, w


@wrong("3.5", "divided after the softmax instead of before it")
def _(q, k, v):
    w = torch.softmax(q @ k.transpose(-1, -2), dim=-1) / math.sqrt(k.size(-1))
    return w @ v, w


@wrong("3.5", "there is no softmax")
def _(q, k, v):
    w = q @ k.transpose(-1, -2) / math.sqrt(k.size(-1))
    return w @ v, w


@wrong("3.5", "output and weights have changed places")
def _(q, k, v):
    w = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(k.size(-1)), dim=-1)
    return w, w @ v


@wrong("3.5", "2 results are asked for, as a tuple, and this is a Tensor")
def _(q, k, v):
    return torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(k.size(-1)), dim=-1) @ v


@wrong("3.5", "`w = q @ k / math.sqrt(q.size(-1))` raises RuntimeError")
def _(q, k, v):
    w = q @ k / math.sqrt(q.size(-1))
    return w @ v, w


@wrong("3.5", "it calls scaled_dot_product_attention, which is what you are to write")
def _(q, k, v):
    return F.scaled_dot_product_attention(q, k, v), q @ k.mT


@wrong("3.5", "it changes its argument number 1 in place")
def _(q, k, v):
    q /= math.sqrt(q.size(-1))
    w = torch.softmax(q @ k.mT, dim=-1)
    return w @ v, w


@wrong("3.5", "it prints; give the result back by return")
def _(q, k, v):
    w = torch.softmax(q @ k.mT / math.sqrt(q.size(-1)), dim=-1)
    print(w)
    return w @ v, w


@wrong("3.5", "gives nothing back: is there a return?")
def _(q, k, v):
    torch.softmax(q @ k.mT, dim=-1) @ v


CALLS = []


@wrong("3.5", "it gives another result each time: does it keep count somewhere?")
def _(q, k, v):
    CALLS.append(0)
    w = torch.softmax(q @ k.mT / math.sqrt(q.size(-1)), dim=-1)
    return len(CALLS) * w @ v, w


@wrong("3.5", "it changes the state of chance")
def _(q, k, v):
    w = F.dropout(torch.softmax(q @ k.mT / math.sqrt(q.size(-1)), dim=-1), 0.5)
    return w @ v, w


@wrong("3.5", "it changes the default dtype")
def _(q, k, v):
    torch.set_default_dtype(torch.float64)
    w = torch.softmax(q @ k.mT / math.sqrt(q.size(-1)), dim=-1)
    return w @ v, w


@wrong("3.5", "no gradient comes through: detach or no_grad?")
@torch.no_grad()
def _(q, k, v):
    w = torch.softmax(q @ k.mT / math.sqrt(q.size(-1)), dim=-1)
    return w @ v, w


@wrong("3.5", "gradients are lost on the way: a detach inside?")
def _(q, k, v):
    w = torch.softmax(q @ k.detach().mT / math.sqrt(q.size(-1)), dim=-1)
    return w @ v, w


@wrong("3.5", "it had not ended after 5 seconds")
def _(q, k, v):
    while True:
        time.sleep(0.01)


wrong("3.5", "A function or class is asked for, and this is a Tensor")(torch.zeros(2))


# 3.6 A mask


@wrong("3.6", "True means *may be looked at* here, and you hide it")
def _(scores, mask):
    return F.softmax(scores.masked_fill(mask, -1e30), dim=-1).masked_fill(mask, 0)


@wrong("3.6", "a hidden score of 0 is still a score")
def _(scores, mask):
    return F.softmax(scores * mask, dim=-1)


@wrong("3.6", "the rows no longer sum to one. Hide the scores")
def _(scores, mask):
    return F.softmax(scores, dim=-1) * mask


@wrong("3.6", "a row in which all is hidden comes out as nan")
def _(scores, mask):
    return F.softmax(torch.where(mask, scores, -torch.inf), dim=-1)


@wrong("3.6", "a row in which all is hidden looks everywhere alike")
def _(scores, mask):
    return F.softmax(torch.where(mask, scores, -1e9), dim=-1)


@wrong("3.6", "each column sums to one instead of each row")
def _(scores, mask):
    return F.softmax(torch.where(mask, scores, -1e30), dim=-2).masked_fill(~mask, 0)


@wrong("3.6", "the mask changes nothing")
def _(scores, mask):
    scores.masked_fill(~mask, -1e9)
    return F.softmax(scores, dim=-1)


# 3.7 Split into heads


@wrong("3.7", "heads and d swapped inside the brackets?")
def _(x, heads):
    b, n, w = x.shape
    return x.view(b, n, w // heads, heads).permute(0, 3, 1, 2)


@wrong("3.7", "a head now mixes numbers of several tokens")
def _(x, heads):
    return x.view(x.size(0), heads, x.size(1), -1)


@wrong("3.7", "the heads still have to move before the tokens")
def _(x, heads):
    return torch.stack(x.chunk(heads, dim=-1), dim=2)


@wrong("3.7", "tokens and width have changed places")
def _(x, heads):
    return torch.stack(x.chunk(heads, dim=-1), dim=1).transpose(2, 3)


@wrong("3.7", "number and width mixed up")
def _(x, heads):
    b, n, w = x.shape
    return x.view(b, n, w // heads, heads).permute(0, 2, 1, 3)


# 3.8 Join the heads


@wrong("3.8", "the heads are shuffled like cards")
def _(x):
    return x.permute(0, 2, 3, 1).flatten(2)


@wrong("3.8", "a reshape without moving the heads back mixes tokens")
def _(x):
    b, h, n, d = x.shape
    return x.contiguous().view(b, n, h * d)


@wrong("3.8", "the heads are averaged")
def _(x):
    return x.sum(1) / x.size(1)


@wrong("3.8", "the heads are added")
def _(x):
    return torch.stack([x[:, i] for i in range(x.size(1))]).sum(0)


@wrong("3.8", "the heads are joined along the tokens")
def _(x):
    return x.flatten(1, 2)


# 3.9 A number to predict


wrong("3.9", "The class token looks and is looked at too")(12 * 12 * 196 * 196)
wrong("3.9", "That is one layer")(12 * 197 * 197)
wrong("3.9", "Every head has a table of its own")(12 * 197)
wrong("3.9", "A table has a row *and* a column")(144 * 197)
wrong("3.9", "A number is asked for, and this is a str")("5.6 million")


# 3.10 The layer


class Layer(nn.Module):
    """A learner's layer, step by step; each wrong one overrides a step."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads, self.record = heads, None
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def cut(self, x):
        b, n, width = x.shape
        qkv = self.qkv(x).view(b, n, 3, self.heads, width // self.heads)
        return qkv.permute(2, 0, 3, 1, 4)

    def weigh(self, q, k):
        return F.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.size(-1)), dim=-1)

    def tell(self, weights, q, k):
        if self.record:
            self.record(weights)

    def join(self, y):
        return y.transpose(1, 2).flatten(2)

    def forward(self, x):
        q, k, v = self.cut(x)
        weights = self.weigh(q, k)
        self.tell(weights, q, k)
        return self.out(self.join(weights @ v))


@wrong("3.10", "divided by the root of the whole width")
class _(Layer):
    def weigh(self, q, k):
        return F.softmax(q @ k.mT / math.sqrt(q.size(-1) * self.heads), dim=-1)


@wrong("3.10", "the scores are not divided: √d is missing")
class _(Layer):
    def weigh(self, q, k):
        return F.softmax(torch.einsum("bhid,bhjd->bhij", q, k), dim=-1)


@wrong("3.10", "the axis is cut as (heads three d)")
class _(Layer):
    def cut(self, x):
        heads = self.qkv(x).chunk(self.heads, dim=-1)
        return torch.stack([torch.stack(h.chunk(3, dim=-1)) for h in heads], dim=2)


@wrong("3.10", "a head gets every so many-th number instead of a run of neighbours")
class _(Layer):
    def cut(self, x):
        return self.qkv(x).unflatten(-1, (3, -1, self.heads)).permute(2, 0, 4, 1, 3)

    def join(self, y):
        return y.permute(0, 2, 3, 1).flatten(2)


@wrong("3.10", "without moving them behind the tokens, which mixes tokens")
class _(Layer):
    def join(self, y):
        b, h, n, d = y.shape
        return y.contiguous().view(b, n, h * d)


@wrong("3.10", "the output layer is missing")
class _(Layer):
    def forward(self, x):
        q, k, v = self.cut(x)
        weights = self.weigh(q, k)
        self.tell(weights, q, k)
        return self.join(weights @ v)


@wrong("3.10", "the input is added; that is the block's work")
class _(Layer):
    def forward(self, x):
        return super().forward(x) + x


@wrong("3.10", "there is one head only")
class _(Layer):
    def cut(self, x):
        return torch.stack(self.qkv(x)[:, None].chunk(3, dim=-1))


@wrong("3.10", "each column sums to one instead of each row")
class _(Layer):
    def weigh(self, q, k):
        return F.softmax(q @ k.mT / math.sqrt(q.size(-1)), dim=2)


@wrong("3.10", "the recorder gets nothing")
class _(Layer):
    def tell(self, weights, q, k):
        self.weights = weights


@wrong("3.10", "what is recorded are scores")
class _(Layer):
    def tell(self, weights, q, k):
        if self.record is not None:
            self.record(q @ k.transpose(2, 3) / math.sqrt(q.size(-1)))


@wrong("3.10", "what is recorded is the mean of the heads")
class _(Layer):
    def tell(self, weights, q, k):
        if self.record is not None:
            self.record(weights.sum(1) / self.heads)


@wrong("3.10", "the recorder is called once for every head")
class _(Layer):
    def tell(self, weights, q, k):
        for head in range(self.heads if self.record else 0):
            self.record(weights[:, head])


@wrong("3.10", "it calls scaled_dot_product_attention, which is what you are to write")
class _(Layer):
    def forward(self, x):
        return self.out(self.join(F.scaled_dot_product_attention(*self.cut(x))))


@wrong("3.10", "TypeError: 'NoneType' object is not callable")
class _(Layer):
    def tell(self, weights, q, k):
        self.record(weights)


# 3.11 Two sequences


def looks(q, k, v):
    return F.softmax(q @ k.transpose(-1, -2) / math.sqrt(k.size(-1)), dim=-1) @ v


@wrong("3.11", "the context asks and x answers")
def _(x, context, W_q, W_k, W_v):
    return looks(context @ W_q, x @ W_k, x @ W_v)


@wrong("3.11", "x looks at itself")
def _(x, context, W_q, W_k, W_v):
    return looks(x @ W_q, x @ W_k, x @ W_v)


@wrong("3.11", "the context looks at itself")
def _(x, context, W_q, W_k, W_v):
    return looks(context @ W_q, context @ W_k, context @ W_v)


@wrong("3.11", "the keys come from x")
def _(x, context, W_q, W_k, W_v):
    return looks(x @ W_q, x @ W_k, context @ W_v)


@wrong("3.11", "the values come from x")
def _(x, context, W_q, W_k, W_v):
    return looks(x @ W_q, context @ W_k, x @ W_v)


@wrong("3.11", "x is looked at, too")
def _(x, context, W_q, W_k, W_v):
    k = torch.cat([x @ W_k, context @ W_k], dim=-2)
    return looks(x @ W_q, k, torch.cat([x @ W_v, context @ W_v], dim=-2))


@wrong("3.11", "the scores are not divided")
def _(x, context, W_q, W_k, W_v):
    return F.softmax(x @ W_q @ (context @ W_k).mT, dim=-1) @ (context @ W_v)


@wrong("3.11", "each column sums to one")
def _(x, context, W_q, W_k, W_v):
    scores = x @ W_q @ (context @ W_k).mT / math.sqrt(W_q.size(-1))
    return F.softmax(scores, dim=-2) @ (context @ W_v)


@wrong("3.11", "something of x is added")
def _(x, context, W_q, W_k, W_v):
    return looks(x @ W_q, context @ W_k, context @ W_v) + x @ W_v


# 3.12 A mask on the grid


def by_loops(rule):
    """A mask by a rule on two places (row, column)."""

    def program(rows, columns, reach):
        places = [(r, c) for r in range(rows) for c in range(columns)]
        return torch.tensor(
            [[rule(abs(r - y), abs(c - x), reach) for y, x in places] for r, c in places]
        )

    return program


@wrong("3.12", "near in the sequence is not near in the picture")
def _(rows, columns, reach):
    ones = torch.ones(rows * columns, rows * columns)
    return (ones.tril(reach) * ones.triu(-reach)).bool()


wrong("3.12", "rows and columns apart are added")(by_loops(lambda r, c, k: r + c <= k))
wrong("3.12", "it is a circle")(by_loops(lambda r, c, k: math.hypot(r, c) <= k))
wrong("3.12", "those exactly reach away are missing")(by_loops(lambda r, c, k: max(r, c) < k))
wrong("3.12", "near in one of the two")(by_loops(lambda r, c, k: min(r, c) <= k))
wrong("3.12", "True is where it may *not*")(by_loops(lambda r, c, k: max(r, c) > k))
wrong("3.12", "a patch may look at itself")(by_loops(lambda r, c, k: 0 < max(r, c) <= k))
wrong("3.12", "columns may be any number apart")(by_loops(lambda r, c, k: r <= k))


@wrong("3.12", "places are taken by the number of rows")
def _(rows, columns, reach):
    i = torch.arange(rows * columns)
    places = torch.stack([i % rows, i // rows], dim=1)
    return (places[:, None] - places).abs().amax(dim=-1) <= reach


@wrong("3.12", "only earlier patches are seen")
def _(rows, columns, reach):
    return by_loops(lambda r, c, k: max(r, c) <= k)(rows, columns, reach).tril()


@wrong("3.12", "its shape is (2, 3), and should be (6, 6)")
def _(rows, columns, reach):
    return torch.ones(rows, columns, dtype=torch.bool)


# 3.13 Two faults


def heads_of(z, W, heads):
    b, n, width = z.shape
    return (z @ W).view(b, n, 3, heads, width // heads).permute(2, 0, 3, 1, 4)


def meet(q, k, d, dim=-1):
    return F.softmax(torch.einsum("bhid,bhjd->bhij", q, k) / d**0.5, dim=dim)


@wrong("3.13", "nothing has changed: both faults are still in it")
def _(z, W, heads):
    q, k, v = heads_of(z, W, heads)
    return (meet(q, k, z.size(2)) @ v).reshape(z.shape)


@wrong("3.13", "one fault is left, in the scores")
def _(z, W, heads):
    q, k, v = heads_of(z, W, heads)
    return (meet(q, k, z.size(2)) @ v).transpose(1, 2).flatten(2)


@wrong("3.13", "one fault is left, in how heads are joined")
def _(z, W, heads):
    q, k, v = heads_of(z, W, heads)
    return (meet(q, k, q.size(3)) @ v).reshape(z.shape)


@wrong("3.13", "the root is that of the number of heads")
def _(z, W, heads):
    q, k, v = heads_of(z, W, heads)
    return (meet(q, k, heads) @ v).transpose(1, 2).flatten(2)


@wrong("3.13", "the root is that of the number of tokens")
def _(z, W, heads):
    q, k, v = heads_of(z, W, heads)
    return (meet(q, k, z.size(1)) @ v).transpose(1, 2).flatten(2)


@wrong("3.13", "divided by d instead of its root")
def _(z, W, heads):
    q, k, v = heads_of(z, W, heads)
    return (meet(q, k, q.size(3) ** 2) @ v).transpose(1, 2).flatten(2)


@wrong("3.13", "the heads are shuffled like cards")
def _(z, W, heads):
    q, k, v = heads_of(z, W, heads)
    return torch.stack((meet(q, k, q.size(3)) @ v).unbind(1), dim=-1).flatten(2)


@wrong("3.13", "now each column sums to one")
def _(z, W, heads):
    q, k, v = heads_of(z, W, heads)
    return (meet(q, k, q.size(3), dim=-2) @ v).transpose(1, 2).flatten(2)


# 3.14 The softmax's gradient


@wrong("3.14", "only the weight's own score counts here")
def _(weights, grad):
    return (weights - weights**2) * grad


@wrong("3.14", "that the weights sum to one is left out")
def _(weights, grad):
    return torch.mul(grad, weights)


@wrong("3.14", "the plain mean of g is subtracted")
def _(weights, grad):
    return weights * grad - weights * grad.sum(-1, True) / grad.size(-1)


@wrong("3.14", "the sum over the keys has lost its axis")
def _(weights, grad):
    average = torch.einsum("...k,...k->...", weights, grad)
    return weights * (grad - average)


@wrong("3.14", "the sum of g is subtracted")
def _(weights, grad):
    return weights * grad - weights * grad.sum(-1, True)


@wrong("3.14", "the average of g is added")
def _(weights, grad):
    return weights * grad + weights * (weights * grad).sum(-1, True)


@wrong("3.14", "the sum runs over the queries")
def _(weights, grad):
    return weights * grad - weights * (weights * grad).sum(-2, True)


@wrong("3.14", "the factor a in front is missing")
def _(weights, grad):
    return grad - torch.einsum("...j,...j->...", weights, grad)[..., None]


@wrong("3.14", "the sign is turned")
def _(weights, grad):
    return weights * (weights * grad).sum(-1, True) - weights * grad


@wrong("3.14", "the sum runs over all rows")
def _(weights, grad):
    return weights * (grad - torch.sum(weights * grad))


@wrong("3.14", "it calls grad, which is what you are to write")
def _(weights, grad):
    scores = weights.log().detach().requires_grad_()
    return torch.autograd.grad(scores.softmax(-1), scores, grad)[0]


# 3.15 and 3.16 Numbers


wrong("3.15", "That is before the division by √64")(2 * 3 * 8)
wrong("3.15", "That is the variance; its root is asked for")(2**2 * 3**2)
wrong("3.15", "Divided by 64: the root of the width is 8")(48 / 64)
wrong("3.15", "Deviations of a product are multiplied, not added")(2 + 3)
wrong("3.15", "That would be a sum of the two numbers")(math.sqrt(2**2 + 3**2))

wrong("3.16", "That is without doubling the queries")(41)
wrong("3.16", "All alike would be 65")(65)
wrong("3.16", "That is halved in place of doubled")(57)
wrong("3.16", "That is the entropy itself")(2.7)
wrong("3.16", "That is without the division by √64")(1.29)
