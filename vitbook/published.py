"""Published ViT weights, from torchvision or timm, under this book's names."""

import re

# (their name, ours), tried in this order. timm and torchvision agree with us on the rest.
TORCHVISION = [
    (r"^class_token$", "embeddings.class_token"),
    (r"^encoder\.pos_embedding$", "embeddings.position"),
    (r"^conv_proj\.", "embeddings.patches.projection."),
    (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"\.self_attention\.in_proj_", ".attn.qkv."),
    (r"\.self_attention\.out_proj\.", ".attn.out."),
    (r"\.mlp\.(?:0|linear_1)\.", ".mlp.fc1."),
    (r"\.mlp\.(?:3|linear_2)\.", ".mlp.fc2."),
    (r"^encoder\.ln\.", "norm."),
    (r"^heads\.head\.", "head."),
]
TIMM = [
    (r"^cls_token$", "embeddings.class_token"),
    (r"^pos_embed$", "embeddings.position"),
    (r"^patch_embed\.proj\.", "embeddings.patches.projection."),
    (r"\.attn\.proj\.", ".attn.out."),
]


def from_published(state):
    """Rename a published ViT's weights to ours.

    Args:
        state: state dict of a torchvision ``VisionTransformer``, or of a timm ``vit_*`` that
            has a class token and no parts beyond the paper's.

    Returns:
        A state dict for :class:`vitbook.VisionTransformer`. A convolution's weight
        (dim, channel, p, p) becomes a matrix (dim, channel * p * p): chapter 1 shows
        that both do the same.

    Raises:
        ValueError: neither library's names are there.
    """
    tables = {"conv_proj.weight": TORCHVISION, "patch_embed.proj.weight": TIMM}
    table = next((table for key, table in tables.items() if key in state), None)
    if table is None:
        raise ValueError(
            f"expected a torchvision or timm ViT state dict (a key among {list(tables)}), "
            f"got keys such as {list(state)[:3]}"
        )
    renamed = {}
    for name, tensor in state.items():
        for theirs, ours in table:
            name = re.sub(theirs, ours, name)
        renamed[name] = tensor
    projection = "embeddings.patches.projection.weight"
    renamed[projection] = renamed[projection].flatten(1)
    return renamed
