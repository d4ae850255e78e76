"""Ours beside timm, torchvision, transformers and vit-pytorch: the same model, in one run.

    python benchmarks/peers.py [--turns 5] [--models mini-vit-tiny mini-vit-small vit-base-16]

Each turn takes every library once, so that what else the machine does falls on all alike.
Printed is how many times as fast as each peer ours is: the median over the turns, in
processor time. A peer that is not installed is left out, by name; transformers and
vit-pytorch are for this script alone: pip install transformers vit-pytorch.
"""

import argparse
import statistics
import time
from contextlib import nullcontext

import torch
import torch.nn.functional as F

from vitbook import VisionTransformer, preset
from vitbook.compat import load_torchvision
from vitbook.training.precision import Choice, attention_layers, computing

BATCH = {32: 64, 224: 4}  # images, by their side
CPU = torch.device("cpu")


def timm(c):
    load_torchvision()
    from timm.models.vision_transformer import VisionTransformer as Peer

    return Peer(img_size=c.image_size, patch_size=c.patch_size, embed_dim=c.dim, depth=c.depth,
                num_heads=c.heads, mlp_ratio=c.mlp_dim / c.dim,
                num_classes=c.classes)  # fmt: skip


def torchvision(c):
    return load_torchvision().models.VisionTransformer(
        c.image_size, c.patch_size, c.depth, c.heads, c.dim, c.mlp_dim, num_classes=c.classes
    )


def transformers(c):
    from transformers import ViTConfig, ViTForImageClassification

    model = ViTForImageClassification(ViTConfig(
        image_size=c.image_size, patch_size=c.patch_size, hidden_size=c.dim,
        num_hidden_layers=c.depth, num_attention_heads=c.heads, intermediate_size=c.mlp_dim,
        num_labels=c.classes, hidden_dropout_prob=0.0,
    ))  # fmt: skip
    return lambda images: model(images).logits


def vit_pytorch(c):
    from vit_pytorch import ViT

    return ViT(image_size=c.image_size, patch_size=c.patch_size, num_classes=c.classes,
               dim=c.dim, depth=c.depth, heads=c.heads, mlp_dim=c.mlp_dim,
               dim_head=c.dim // c.heads)  # fmt: skip


PEERS = {"timm": timm, "torchvision": torchvision, "transformers": transformers,
         "vit-pytorch": vit_pytorch}  # fmt: skip


def models(config):
    """Ours by both ways through attention, and every peer that is installed."""
    model = VisionTransformer(config)
    layers, made = attention_layers(model), {}
    for way in ("fused", "written"):
        made[f"ours, {way}"] = model, (lambda w=way: computing(Choice("fp32", w), CPU, layers))
    for name, make in PEERS.items():
        try:
            made[name] = make(config), nullcontext
        except ImportError as error:
            print(f"  left out: {name} ({error})")
    return made


def seconds(model, context, images, labels, train, low):
    """Processor time of one forward pass, or of a forward and a backward pass."""
    cast = torch.autocast("cpu", torch.bfloat16) if low else nullcontext()
    started = time.process_time()
    with torch.set_grad_enabled(train), context(), cast:
        logits = model(images).float()
    if train:
        F.cross_entropy(logits, labels).backward()
    return time.process_time() - started


def compare(name, train, low, turns):
    """One table: how many times as fast the faster of our two ways is as each peer."""
    config = preset(name, classes=10)
    size = config.image_size
    images, labels = torch.randn(BATCH[size], 3, size, size), torch.randint(10, (BATCH[size],))
    print(f"{name}, {'training step' if train else 'forward'}, {'bf16' if low else 'fp32'}")
    made = models(config)
    times = {peer: [] for peer in made}
    for turn in range(turns + 1):
        for peer, (model, context) in made.items():
            taken = seconds(model, context, images, labels, train, low)
            times[peer] += [taken] if turn else []  # the first sets kernels up
    middle = {peer: statistics.median(taken) for peer, taken in times.items()}
    ours = min(("ours, fused", "ours, written"), key=middle.get)
    for peer in made:
        ratios = [other / own for other, own in zip(times[peer], times[ours], strict=True)]
        print(f"  {peer:<14} {middle[peer] * 1000:8.0f} ms  {statistics.median(ratios):.2f}")


def main():
    """Print every table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    known = ["mini-vit-tiny", "mini-vit-small", "vit-base-16"]
    parser.add_argument("--models", nargs="+", default=known)
    parser.add_argument("--bf16", action="store_true", help="the same under autocast, too")
    arguments = parser.parse_args()
    for low in (False, True) if arguments.bf16 else (False,):
        for name in arguments.models:
            for train in (False, True):
                compare(name, train, low, arguments.turns)


if __name__ == "__main__":
    main()
