"""The Muon optimizer: steps whose matrices are orthogonal."""

from collections import defaultdict

import torch


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised (Jordan et al. 2024), for matrices inside a network.

    The same update as ``torch.optim.Muon`` with its default settings. That one
    multiplies in bfloat16 everywhere, which is slow on processors without units for it;
    this one does so where ``dtype`` says so, and takes matrices of one shape together.

    Args:
        params: matrices, or groups of them.
        lr: size of the step.
        weight_decay: decoupled, as in AdamW.
        momentum: of the running average of gradients; Nesterov's look ahead is on.

    Raises:
        ValueError: a parameter that is no matrix.
    """

    def __init__(self, params, lr=0.02, weight_decay=0.0, momentum=0.95):
        self.dtype = torch.float32  # of the multiplications; bfloat16 where that is faster
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError(f"Muon takes matrices only, got shape {tuple(p.shape)}")

    @torch.no_grad()
    def step(self):
        """Move every matrix that has a gradient."""
        for group in self.param_groups:
            alike = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    alike[p.shape].append(p)
            for shape, matrices in alike.items():
                ahead = torch.stack(self.look_ahead(matrices, group["momentum"]))
                directions = orthogonal(ahead.to(self.dtype)).to(ahead.dtype)
                scale = max(1, shape[0] / shape[1]) ** 0.5
                # one call for all of them: on a GPU, launches are what a step costs
                torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(matrices, directions.unbind(), alpha=-group["lr"] * scale)

    def look_ahead(self, matrices, momentum):
        """Their gradients, led on by the average of those before them (Nesterov)."""
        for p in matrices:
            if not self.state[p]:
                self.state[p]["average"] = torch.zeros_like(p)
        averages = [self.state[p]["average"] for p in matrices]
        gradients = [p.grad for p in matrices]
        torch._foreach_lerp_(averages, gradients, 1 - momentum)
        return torch._foreach_lerp(gradients, averages, momentum)


def orthogonal(matrices, steps=5):
    """The nearest orthogonal matrices, roughly.

    A Newton-Schulz iteration with the polynomial 3.4445 x − 4.7750 x³ + 2.0315 x⁵. Singular
    values of at least 0.0015 of the matrix's length (the root of the sum of its squares) end
    between 0.65 and 1.21 after five steps. Smaller ones are multiplied by up to 485 and may
    stay small. Shapes: (matrix, rows, columns) → the same.
    """
    x = matrices
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if tall else x
