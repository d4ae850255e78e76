"""Chapter 6: maps that ask which looks matter to one answer, through gradients."""

import torch
from einops import rearrange, reduce

from vitbook.explain.recorder import record_attention


def recorded_with_gradients(model, images, targets=None):
    """Attention weights, and the gradient of each image's target logit with respect to them.

    Args:
        model: a :class:`vitbook.VisionTransformer`, in evaluation mode.
        images: (batch, channel, height, width), normalised.
        targets: (batch,), the class asked about; the predicted one by default.

    Returns:
        weights and gradients, both (layer, batch, head, query, key). The gradients of
        the model's parameters are left as they were.
    """
    images = images.detach().clone().requires_grad_()  # a graph even if all weights are frozen
    with torch.enable_grad(), record_attention(model, gradients=True) as maps:
        logit = chosen(model(images), targets).sum()  # images do not see each other
        logit.backward(inputs=maps.calls)
    return maps.weights.detach(), maps.weight_gradients


def chosen(logits, targets):
    """Each image's logit of its target, or its largest."""
    if targets is None:
        targets = logits.argmax(dim=-1)
    targets = torch.as_tensor(targets, device=logits.device).expand(len(logits))
    if targets.min() < 0 or targets.max() >= logits.shape[1]:
        raise ValueError(
            f"targets must be classes, 0…{logits.shape[1] - 1}; got {targets.tolist()}"
        )
    return logits.gather(1, targets[:, None])[:, 0]


def gradient_attention(model, images, targets=None):
    """The last layer's attention, each head weighted by its mean gradient (Grad-CAM).

    Selvaraju et al. 2017, on attention: ``(mean_h w_h A_h)⁺``, where ``w_h`` is the mean
    gradient over the looks that the map is read from.

    Returns:
        (batch, patch): not negative; all zero where the weighted heads leave nothing.
    """
    recorded = recorded_with_gradients(model, images, targets)
    table = gradient_attention_of(*recorded, model.config.pool == "cls")
    return readout(table, model).clamp(min=0)


def gradient_attention_of(weights, gradients, class_token):
    """:func:`gradient_attention` on recorded tensors, with its sign: (batch, query, key).

    Args:
        weights, gradients: (layer, batch, head, query, key).
        class_token: whether token 0 is one. Then the map is its row: its looks at patches
            weigh the heads. Without one, all looks do.
    """
    looks = gradients[-1][:, :, :1, 1:] if class_token else gradients[-1]
    influence = looks.mean(dim=(-2, -1), keepdim=True)
    return (influence * weights[-1]).mean(dim=1)


def relevance(model, images, targets=None):
    """Relevance of every token for the target (Chefer et al. 2021, eq. 5 and 6).

    From the first layer to the last, ``R ← R + mean_h (∇A ⊙ A)⁺ R``, beginning with the
    identity. Written out this is ``Π (I + mean_h (∇A ⊙ A)⁺)``: a rollout in which each look
    counts by what it does for the target, also known as gradient rollout.

    Returns:
        (batch, patch): where a relevance map is read, with the identity's part taken off.
    """
    total = relevance_of(*recorded_with_gradients(model, images, targets))
    return readout(total - torch.eye(total.shape[-1]).to(total), model)


def relevance_of(weights, gradients):
    """The recursion of :func:`relevance` on recorded tensors: (batch, query, input token).

    Args:
        weights, gradients: (layer, batch, head, query, key), in the order of the layers.
    """
    matters = (gradients * weights).clamp(min=0).mean(dim=2)
    total = torch.eye(weights.shape[-1]).to(weights).expand(matters.shape[1:])
    for layer in matters:
        total = total + layer @ total
    return total


def readout(table, model):
    """The row a model answers from, patches only: (batch, query, key) → (batch, patch).

    The class token's row; for mean pooling, the mean of all rows.
    """
    return table[:, 0, 1:] if model.config.pool == "cls" else table.mean(dim=1)


def input_gradient(model, images, targets=None):
    """How strongly each patch's pixels move the target logit: a baseline without attention.

    Simonyan et al. 2014: the absolute gradient, summed over the patch.

    Returns:
        (batch, patch).
    """
    images = images.detach().clone().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(chosen(model(images), targets).sum(), images)
    p = model.config.patch_size
    summed = reduce(gradient.abs(), "b c (h ph) (w pw) -> b h w", "sum", ph=p, pw=p)
    return rearrange(summed, "b h w -> b (h w)")
