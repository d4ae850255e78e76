"""Published ViT weights under this book's names: torchvision, timm, DINO, Hugging Face."""

import re
from copy import deepcopy
from dataclasses import replace
from math import isqrt

import torch
import torch.nn.functional as F
from torch import nn

from vitbook.embeddings import position_table, resize_positions
from vitbook.vit import VisionTransformer, ViTConfig

# The one name that every ViT has, behind the prefixes of whatever it was wrapped in.
ANCHOR = re.compile(
    r"(.*?)(?:conv_proj|patch_embed\.proj|embeddings\.patch_embeddings\.projection)\.weight"
)
# (their name, ours), tried in this order on every name. No two libraries clash.
NAMES = [
    (r"^(?:class_token|(?:embeddings\.)?cls_token)$", "embeddings.class_token"),
    (
        r"^(?:encoder\.pos_embedding|pos_embed|embeddings\.position_embeddings)$",
        "embeddings.position",
    ),
    (
        r"^(?:conv_proj|patch_embed\.proj|embeddings\.patch_embeddings\.projection)\.",
        "embeddings.patches.projection.",
    ),
    (
        r"^(?:encoder\.layers\.encoder_layer_|encoder\.layer\.|layers\.|blocks\.)(\d+)\.",
        r"blocks.\1.",
    ),
    (r"\.(?:ln_1|layernorm_before)\.", ".norm1."),
    (r"\.(?:ln_2|layernorm_after)\.", ".norm2."),
    (r"\.self_attention\.in_proj_", ".attn.qkv."),
    (
        r"\.(?:self_attention\.out_proj|attn\.proj|attention\.output\.dense|attention\.o_proj)\.",
        ".attn.out.",
    ),
    (
        r"\.attention\.(?:attention\.)?(?:query|key|value|[qkv]_proj)\.",
        lambda m: f".attn.{m[0].split('.')[-2][0]}.",
    ),
    (r"\.(?:mlp\.(?:0|linear_1)|intermediate\.dense)\.", ".mlp.fc1."),
    (r"(?:\.mlp\.(?:3|linear_2)|(?<!attention)\.output\.dense)\.", ".mlp.fc2."),
    (r"\.(?:ls([12])\.gamma|layer_scale([12])\.lambda1)$", r".scale\1\2"),
    (r"^(?:encoder\.ln|layernorm)\.", "norm."),
    (r"^(?:heads\.head|classifier)\.", "head."),
]
OURS = re.compile(
    r"embeddings\.(?:class_token|position|patches\.projection\.(?:weight|bias))"
    r"|blocks\.\d+\.(?:(?:norm[12]|attn\.(?:qkv|out)|mlp\.fc[12])\.(?:weight|bias))"
    r"|(?:norm|fc_norm|head)\.(?:weight|bias)"
)
NO_ROOM = {  # a part of a name: what this book's model has not
    "reg_token": "register tokens",
    "register_tokens": "register tokens",
    "decoder": "a decoder for masked patches",
    "patch_embed.backbone": "convolutions in front of the patches",
    "attn.norm": "a norm inside attention",
    "dist": "a distillation token with a head of its own",
    "norm_pre": "a norm before the first block",
    "q_norm": "norms on queries and keys",
    "attn_pool": "pooling by attention",
    "rope": "rotary positions",
    "rel_pos": "relative positions",
    "relative_position": "relative positions",
    "w12": "a gated MLP",
    "pre_logits": "a hidden layer before the head",
}
UNREAD = r"(?:pooler\..*|embeddings\.mask_token|mask_token)"  # no logit depends on it
PATCHES = "embeddings.patches.projection.weight"
IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # as all of torchvision's want pixels


def from_published(state):
    """Rename a published ViT's weights to ours.

    A wrapper's prefix ("module.", "model.", whatever it is) is taken off, query, key and value
    matrices are joined, a layer scale goes into the matrix that it follows, which is the same,
    and a class token without a position gets a position of zeros.

    Args:
        state: state dict of a torchvision ``VisionTransformer``, a timm ``vit_*`` or
            ``deit*``, a ViT of DINO or DINOv2, or Hugging Face's ``ViTModel`` or
            ``ViTForImageClassification``. The table in the book says what of these is read.

    Returns:
        A state dict for :class:`vitbook.VisionTransformer`. A convolution's weight
        (dim, channel, p, p) becomes a matrix (dim, channel * p * p): chapter 1 shows
        that both do the same.

    Raises:
        ValueError: no library's names are there, those of two models, or a part for which our
            model has no room.
    """
    renamed = our_names(state)
    renamed[PATCHES] = renamed[PATCHES].flatten(1)
    return renamed


def our_names(state, image_size=None):
    """As :func:`from_published`, with the patch projection still a convolution."""
    anchors = [match[1] for match in map(ANCHOR.fullmatch, map(str, state)) if match]
    if len(anchors) != 1:
        raise ValueError(
            "expected the state dict of a torchvision, timm, DINO or Hugging Face ViT, got "
            + (f"{len(anchors)} models: {anchors}; give that of one" if anchors
               else f"keys such as {list(state)[:3]}")
        )  # fmt: skip
    found = {}
    for name, tensor in state.items():
        name = unwrapped(name, anchors[0])
        for theirs, ours in NAMES:
            name = re.sub(theirs, ours, name)
        found[name] = tensor
    found = joined({n: t for n, t in found.items() if not re.fullmatch(UNREAD, n)})
    fold_scales(found)
    for name in found:
        if not OURS.fullmatch(name):
            reason = next((why for part, why in NO_ROOM.items() if part in name), None)
            raise ValueError(
                f"the weights hold {name}"
                + (f", {reason}" if reason else "")
                + ": VisionTransformer has no such part; load a ViT without it"
            )
    table = found.get("embeddings.position")
    if table is not None and "embeddings.class_token" in found:
        rows = table.shape[-2]
        height, width = grid(found, image_size) or 2 * (isqrt(rows),)
        if height * width == rows:  # one row for each patch, none for the class token
            found["embeddings.position"] = F.pad(table, (0, 0, 1, 0))
    return found


def unwrapped(name, prefix):
    """A name without the parts of a prefix that it begins with: a head may lack the last."""
    for part in prefix.split(".")[:-1]:
        name = name.removeprefix(f"{part}.")
    return name


def grid(found, image_size):
    """(rows, columns) of patches in images of a size; None where the size is not given."""
    if image_size is None:
        return None
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    side = found[PATCHES].shape[-1]
    return height // side, width // side


def joined(found):
    """Query, key and value matrices as one, in this order."""
    whole = {}
    for name, tensor in found.items():
        match = re.fullmatch(r"(.*\.attn\.)([qkv])\.(weight|bias)", name)
        if not match:
            whole[name] = tensor
        elif match[2] == "q":
            parts = [found.get(f"{match[1]}{part}.{match[3]}") for part in "qkv"]
            if any(part is None for part in parts):
                raise ValueError(f"{name} is there, but not the same of key and value")
            whole[f"{match[1]}qkv.{match[3]}"] = torch.cat(parts)
    return whole


def fold_scales(found):
    """Multiply a layer scale into the matrix that it follows: γ ⊙ (W x + b)."""
    for name in [name for name in found if re.search(r"\.scale[12]$", name)]:
        scale, block = found.pop(name), name[: name.rindex(".")]
        for part in ("weight", "bias"):
            end = f"{block}.{'attn.out' if name.endswith('1') else 'mlp.fc2'}.{part}"
            if end in found:
                found[end] = found[end] * (scale[:, None] if part == "weight" else scale)


def load_published(state, heads=None, image_size=None):
    """A model with a published ViT's weights, in evaluation mode.

    All else is read off the weights, where images are square. Without a head the model
    returns the class token's features (or the mean of the patches'), by a head that changes
    nothing; where the library averages and then normalises (timm's ``fc_norm``), so does the
    model's head. Which pixels the model wants, its source says, not its weights: set
    ``model.normalisation`` to (mean, std), as it is done here for torchvision's.

    Args:
        state: as in :func:`from_published`.
        heads: attention heads; by default one for every 64 dimensions.
        image_size: (height, width) in pixels, for a model whose images are no squares.

    Raises:
        ValueError: as in :func:`from_published`; an average beside a class token; positions
            for images of another shape; a width that 64 does not divide, without ``heads``.
    """
    found = our_names(state, image_size)
    dim, channels, side, _ = found[PATCHES].shape
    refuse_other_shapes(found, dim)
    first = "embeddings.class_token" in found
    if "fc_norm.weight" in found and first:
        raise ValueError("the weights average the patches and leave a class token aside: "
                         "VisionTransformer reads one or the other")  # fmt: skip
    patches = found["embeddings.position"].shape[-2] - first
    rows, columns = grid(found, image_size) or 2 * (isqrt(patches),)
    if rows * columns != patches:
        raise ValueError(f"the weights have positions for {patches} patches, which is no grid "
                         f"of {rows} × {columns}; give image_size=(height, width)")  # fmt: skip
    if heads is None and dim % 64:
        raise ValueError(f"heads={heads}: weights of width {dim} do not say how many; give it")
    config = ViTConfig(
        image_size=(rows * side, columns * side) if rows != columns else rows * side,
        patch_size=side,
        channels=channels,
        classes=len(found["head.weight"]) if "head.weight" in found else dim,
        dim=dim,
        depth=1 + max(int(name.split(".")[1]) for name in found if name.startswith("blocks.")),
        heads=heads or dim // 64,
        mlp_dim=len(found["blocks.0.mlp.fc1.weight"]),
        pool="cls" if first else "mean",
        attention_bias="blocks.0.attn.qkv.bias" in found,
    )
    model = VisionTransformer(config)
    if config.channels == 3 and any("conv_proj." in name for name in state):
        model.normalisation = IMAGENET
    found.setdefault("head.weight", torch.eye(dim))
    found.setdefault("head.bias", torch.zeros(config.classes))
    if "fc_norm.weight" in found:
        model.head = nn.Sequential(nn.LayerNorm(dim, eps=1e-6), model.head)
        model.norm = nn.Identity()
        places = {"fc_norm.": "head.0.", "head.": "head.1."}
        found = {
            re.sub(r"^(?:fc_norm|head)\.", lambda m: places[m[0]], name): tensor
            for name, tensor in found.items()
        }
    if any("layernorm_before" in name for name in state):  # Hugging Face's
        for module in model.modules():
            if isinstance(module, nn.LayerNorm):
                module.eps = 1e-12
    found[PATCHES] = found[PATCHES].flatten(1)
    try:
        model.load_state_dict(found)
    except RuntimeError as error:
        why = " ".join(str(error).split())
        raise ValueError(f"these weights are not those of a plain ViT: {why}") from error
    return model.eval()


def refuse_other_shapes(found, dim):
    """Refuse what has our names, but not the computation that they stand for.

    Raises:
        ValueError: names the part.
    """
    fc1, fc2 = (found.get(f"blocks.0.mlp.fc{i}.weight") for i in (1, 2))
    if fc1 is None or fc2 is None:
        raise ValueError("the weights hold no block with an MLP; give those of a whole ViT")
    if len(fc1) == 2 * fc2.shape[-1]:
        raise ValueError("the weights hold a gated MLP: VisionTransformer has no such part")
    if "embeddings.position" not in found:
        raise ValueError(
            "the weights hold no table of positions: rotary or relative ones, which "
            "VisionTransformer has not; load a ViT with a table"
        )
    width = found["head.weight"].shape[-1] if "head.weight" in found else dim
    if width != dim:
        raise ValueError(
            f"the head reads {width} numbers, a token has {dim}: VisionTransformer reads the "
            "class token or the patches' average alone; load the ViT without its head"
        )


def at_size(model, image_size):
    """A copy of a model for images of another size or shape, its positions resized.

    Args:
        model: a :class:`vitbook.VisionTransformer`.
        image_size: side in pixels, or (height, width); the patches stay as large.

    Raises:
        ValueError: patches do not divide the size.
    """
    other = deepcopy(model)
    other.config = config = replace(model.config, image_size=image_size)
    table = other.embeddings.position
    first = config.pool == "cls"  # the class token's row
    if config.position == "sincos":
        fresh = position_table("sincos", config.grid, config.dim, first).to(table)
    else:
        patches = resize_positions(table[0, first:].float(), model.config.grid, config.grid)
        fresh = torch.cat([table[:, :first], patches.to(table)[None]], dim=1)
    other.embeddings.position = nn.Parameter(fresh.detach(), table.requires_grad)
    return other
