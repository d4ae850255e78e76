"""Chapter 6: attention followed through all layers, from the top to the input.

Everything here takes the recorded weights alone, (layer, batch, head, query, key).
"""

import numpy as np
import torch


def rollout(weights, residual=True):
    """Attention followed through all layers (Abnar & Zuidema 2020, eq. 1 and 2).

    Heads are averaged. With ``residual``, each layer's matrix becomes half itself, half
    the identity: the block adds attention's output to what was there.

    Args:
        weights: (layer, batch, head, query, key).
        residual: whether to account for the residual connection.

    Returns:
        (batch, query, input token): how much of each input token reaches each output
        token; rows sum to one.
    """
    layers = weights.mean(dim=2)
    identity = torch.eye(layers.shape[-1], dtype=layers.dtype, device=layers.device)
    if residual:
        layers = 0.5 * layers + 0.5 * identity
    flow = identity.expand(layers.shape[1:])
    for layer in layers:
        flow = layer @ flow
    return flow


def discard_weakest(weights, share, class_token=True):
    """Average the heads and drop each image's weakest looks, layer by layer.

    For ``rollout(discard_weakest(weights, 0.9))``. What stays of each row is rescaled
    to sum to one. A look at the class token is never dropped, and neither is a row's
    strongest look, so that no row is left empty.

    Args:
        weights: (layer, batch, head, query, key).
        share: of the looks of one image in one layer to drop, 0…1.
        class_token: whether key 0 is a class token.

    Returns:
        (layer, batch, 1, query, key).
    """
    layers = weights.mean(dim=2, keepdim=True)
    kept = layers.detach().clone()
    if class_token:
        kept[..., 0] = torch.inf
    kept.scatter_(-1, layers.argmax(dim=-1, keepdim=True), torch.inf)
    flat = kept.flatten(2)
    weakest = flat.argsort(dim=-1, stable=True)[..., : int(share * flat.shape[-1])]
    dropped = torch.zeros_like(flat, dtype=torch.bool).scatter(-1, weakest, True)
    dropped = (dropped & flat.isfinite()).view_as(layers)
    layers = layers.masked_fill(dropped, 0.0)
    return layers / layers.sum(dim=-1, keepdim=True)


def attention_flow(weights, query=0, residual=True, precision=1_000_000):
    """How much can flow from each input token to one token at the top (Abnar & Zuidema 2020).

    The layers are a network of pipes: token ``i`` above and token ``j`` below are joined
    by a pipe as wide as ``i``'s look at ``j``. The answer is the largest flow, pipe by
    pipe within its width. It takes a whole optimisation for each input token: for
    small pictures only.

    Args:
        weights: (layer, batch, head, query, key).
        query: the token at the top; 0 is the class token.
        residual: as in :func:`rollout`.
        precision: widths are rounded to one part in so many.

    Returns:
        (batch, input token).
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_flow

    layers = weights.mean(dim=2).double()
    count, batch, n, _ = layers.shape
    if residual:
        layers = 0.5 * layers + 0.5 * torch.eye(n, dtype=layers.dtype, device=layers.device)
    widths = (layers * precision).round().int().cpu().numpy()
    flows = torch.zeros(batch, n)
    for image in range(batch):
        network = np.zeros(((count + 1) * n, (count + 1) * n), dtype=np.int32)
        for layer in range(count):
            above, below = (layer + 1) * n, layer * n
            network[above : above + n, below : below + n] = widths[layer, image]
        pipes = csr_array(network)
        for token in range(n):
            flow = maximum_flow(pipes, count * n + query, token).flow_value
            flows[image, token] = flow / precision
    return flows
