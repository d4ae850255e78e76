"""How a training computes: in which number format, and by which way through attention.

The mathematics is one, the costs are not. The fused attention kernel saves memory, and on a
CPU its backward pass costs time; bfloat16 is fast only where a processor has units for it.
So what a recipe leaves open is measured, on the real model and batch, before the first step.
"""

from contextlib import contextmanager, nullcontext
from statistics import median
from typing import NamedTuple

import torch

from vitbook.attention import MultiHeadSelfAttention

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
TURNS = 3  # timed steps of each way, after one that is not counted
CLEARLY = 0.95  # of the plain way's time: what is hardly faster is not worth another rounding


class Choice(NamedTuple):
    """How a training computes."""

    precision: str  # "fp32", "bf16" or "fp16"
    attention: str  # "fused" or "written"
    compiled: bool = False


def choose(config, device, layers, seconds):
    """What a recipe asks for; where it leaves that open, the fastest.

    Args:
        config: an :class:`EngineConfig`; its ``precision`` and ``attention`` may be "auto".
        device: a :class:`torch.device`.
        layers: the model's attention layers; without any there is nothing to choose there.
        seconds: a function from a :class:`Choice` to the seconds that one training step takes.

    Returns:
        A :class:`Choice`. Without a clear winner it is the first way allowed: float32 (on a
        GPU, what its generation is made for), fused.
    """
    formats = formats_of(device) if config.precision == "auto" else [config.precision]
    ways = ["fused", "written"] if config.attention == "auto" else [config.attention]
    allowed = [Choice(f, way) for f in formats for way in (ways if layers else ["fused"])]
    return allowed[0] if len(allowed) == 1 else fastest(allowed, seconds)


def formats_of(device):
    """The formats worth a try, the plain one first.

    bfloat16 on GPUs from compute capability 8; float16 on 7, whose units know no bfloat16;
    float32 below and on other devices. On a CPU its clock decides.
    """
    if device.type == "cpu":
        return ["fp32", "bf16"]
    generation = capability(device)
    return ["bf16" if generation >= 8 else "fp16" if generation == 7 else "fp32"]


def capability(device):
    """CUDA's compute capability, such as 8 for an A100; 0 on other devices."""
    return torch.cuda.get_device_capability(device)[0] if device.type == "cuda" else 0


def fastest(allowed, seconds):
    """The choice of the smallest median time, taken in turns; the first if none is clear."""
    plain, times = allowed[0], {choice: [] for choice in allowed}
    first = {choice: seconds(choice) for choice in allowed}  # sets kernels up: not counted
    for _ in range(TURNS):
        for choice, taken in times.items():
            if first[choice] < 3 * first[plain]:  # a hopeless one is tried once only
                taken.append(seconds(choice))
    medians = {choice: median(taken) for choice, taken in times.items() if taken}
    best = min(medians, key=medians.get)
    return best if medians[best] < CLEARLY * medians[plain] else plain


def attention_layers(model):
    """The layers whose way through attention can be chosen."""
    return [layer for layer in model.modules() if isinstance(layer, MultiHeadSelfAttention)]


@contextmanager
def computing(choice, device, layers):
    """Inside, a forward pass computes as chosen.

    Attention is written out where somebody listens: the recorder's slot of chapter 3 is
    given a function that hears and forgets. A slot that is taken stays as it is.
    """
    free = [layer for layer in layers if choice.attention == "written" and not layer.record]
    for layer in free:
        layer.record = forget
    low = choice.precision != "fp32"
    try:
        with torch.autocast(device.type, DTYPES[choice.precision]) if low else nullcontext():
            yield
    finally:
        for layer in free:
            layer.record = None


@contextmanager
def fast_products(on):
    """Inside, float32 matrix products of compiled models take a GPU's faster units."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if on else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def forget(weights):
    """Hear the attention weights, and keep nothing."""
