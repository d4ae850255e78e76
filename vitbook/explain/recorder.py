"""Chapter 6: read the attention weights of a model while it runs.

Nothing here knows how a model is built: recording goes through the ``record`` slot of
every :class:`vitbook.attention.MultiHeadSelfAttention`.
"""

from contextlib import contextmanager

import torch

from vitbook.attention import MultiHeadSelfAttention


class Recording:
    """The attention weights of the last forward pass inside :func:`record_attention`."""

    def __init__(self, layers, gradients):
        self.layers, self.gradients, self.calls = layers, gradients, []

    def __call__(self, weights):
        if len(self.calls) == self.layers:  # a new forward pass begins
            self.calls = []
        if self.gradients and not weights.requires_grad:
            raise RuntimeError(
                "no gradient reaches the attention weights: leave torch.no_grad(), and where "
                "all weights are frozen, call images.requires_grad_() first"
            )
        if self.gradients:
            weights.retain_grad()
        self.calls.append(weights if self.gradients else weights.detach())

    @property
    def weights(self):
        """(layer, batch, head, query, key), before dropout; every row sums to one."""
        self.check_complete()
        return torch.stack(self.calls)

    @property
    def weight_gradients(self):
        """Gradient of what was differentiated, same shape; after ``backward()``."""
        self.check_complete()
        if not self.gradients or self.calls[0].grad is None:
            raise RuntimeError(
                "no gradients were recorded: use record_attention(model, gradients=True) "
                "and call backward() on a logit before reading them"
            )
        return torch.stack([weights.grad for weights in self.calls])

    def check_complete(self):
        if len(self.calls) != self.layers:
            raise RuntimeError(
                f"recorded {len(self.calls)} of {self.layers} layers: run the model once "
                "inside the with block before reading the maps"
            )


@contextmanager
def record_attention(model, gradients=False):
    """Record the attention weights of every block while the ``with`` block runs.

    Args:
        model: a module that holds at least one ``MultiHeadSelfAttention``.
        gradients: keep the graph, so that weights have gradients after backward().

    Yields:
        A :class:`Recording`; read ``.weights`` after calling the model. Outside the
        block the fused kernel runs again and nothing stays attached.

    Raises:
        ValueError: the model has no ``MultiHeadSelfAttention`` to record.
    """
    layers = [m for m in model.modules() if isinstance(m, MultiHeadSelfAttention)]
    if not layers:
        raise ValueError(
            f"found no MultiHeadSelfAttention in {type(model).__name__}: its attention "
            "cannot be recorded; load the weights into a vitbook.VisionTransformer"
        )
    recording, before = Recording(len(layers), gradients), [layer.record for layer in layers]
    for layer in layers:
        layer.record = recording
    try:
        yield recording
    finally:
        for layer, old in zip(layers, before, strict=True):
            layer.record = old  # None, or the recording around this one
