"""Wrong programs for chapter 3."""

import math
import time

import torch
import torch.nn.functional as F

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
