"""Chapter 6: change one thing inside a model, and see what the answer does.

Every function takes a :class:`vitbook.VisionTransformer` in evaluation mode and counts layers
and heads from 0. The changes are context managers: inside, the model runs changed; afterwards
nothing is left of it.
"""

from contextlib import contextmanager

import torch
from einops import rearrange

from vitbook.attention import attention
from vitbook.vit import check_images, pool


@torch.no_grad()
def streams(model, images):
    """All tokens on their way up: (stage, batch, token, dim).

    The first stage is the embedding, then follows one after each block.

    Args:
        images: (batch, channel, height, width), normalised.
    """
    check_images(images, model.config)
    stages = [model.embeddings(images)]
    for block in model.blocks:
        stages.append(block(stages[-1]))
    return torch.stack(stages)


@torch.no_grad()
def logit_lens(model, images):
    """What the model would answer at each stage, were it the last: (stage, batch, class).

    The last norm and the head are put on every stage of :func:`streams` (nostalgebraist
    2020); the last stage is the model's answer.
    """
    stages = streams(model, images)
    return torch.stack([model.head(pool(model.norm(x), model.config.pool)) for x in stages])


@contextmanager
def changed(module, change):
    """Inside, a module hands on ``change(input, output)`` in the place of its output."""
    handle = module.register_forward_hook(lambda _, inputs, output: change(*inputs, output))
    try:
        yield
    finally:
        handle.remove()


def block_of(model, layer):
    """One block, counted from 0; refuses a number that is none."""
    if not 0 <= layer < len(model.blocks):
        raise ValueError(f"layer must be from 0 to {len(model.blocks) - 1}, got {layer}")
    return model.blocks[layer]


def cut_looks(model, layer, cut):
    """Inside, some looks of one layer are masked before the softmax.

    The looks that stay share what the others had (attention knockout, Geva et al. 2023).

    Args:
        cut: boolean, broadcast to (batch, head, query, key), True for a look that is cut.

    Raises:
        ValueError: a token would be left without any look.
    """
    if cut.all(dim=-1).any():
        raise ValueError("cut leaves a token no look at all: each needs one, itself at least")
    attn = block_of(model, layer).attn

    def masked(x, output):
        split = "b n (three heads d) -> three b heads n d"
        q, k, v = rearrange(attn.qkv(x), split, three=3, heads=attn.heads)
        joined = rearrange(attention(q, k, v, ~cut)[0], "b heads n d -> b n (heads d)")
        return attn.out(joined)

    return changed(attn, masked)


def silence_head(model, layer, head):
    """Inside, one head of one layer writes nothing into the stream.

    The output projection adds up what the heads write; this head's part is taken off.

    Raises:
        ValueError: no head or no layer of that number.
    """
    attn = block_of(model, layer).attn
    if not 0 <= head < attn.heads:
        raise ValueError(f"head must be from 0 to {attn.heads - 1}, got {head}")

    def mute(x, output):
        width = x.shape[-1] // attn.heads
        part = slice(head * width, (head + 1) * width)
        return output - x[..., part] @ attn.out.weight[:, part].T

    return changed(attn.out, mute)


def swap_tokens(model, layer, donor, which):
    """Inside, some tokens leave one block as they do for other images.

    Known as activation patching (Vig et al. 2020; Meng et al. 2022).

    Args:
        donor: (batch, token, dim), ``streams(model, others)[layer + 1]``.
        which: boolean, broadcast to (batch, token), True for the tokens taken from there.

    Raises:
        ValueError: at the call, a donor of another shape than the images' tokens.
    """

    def graft(x, output):
        if donor.shape != output.shape:
            raise ValueError(
                f"donor has shape {tuple(donor.shape)}, the tokens {tuple(output.shape)}: "
                "give one stage of streams, made from as many images"
            )
        return torch.where(which[..., None], donor, output)

    return changed(block_of(model, layer), graft)
