"""vitbook: the code that the book "Vision Transformers from scratch" builds."""

from vitbook.attention import MultiHeadSelfAttention
from vitbook.embeddings import Embeddings, PatchEmbedding, resize_positions, sincos_2d
from vitbook.encoder import MLP, DropPath, EncoderBlock
from vitbook.explain import record_attention
from vitbook.patches import patchify, unpatchify
from vitbook.published import at_size, from_published, load_published
from vitbook.training import load_pretrained
from vitbook.version import __version__
from vitbook.vit import VisionTransformer, ViTConfig, preset

__all__ = [
    "MLP",
    "DropPath",
    "Embeddings",
    "EncoderBlock",
    "MultiHeadSelfAttention",
    "PatchEmbedding",
    "ViTConfig",
    "VisionTransformer",
    "__version__",
    "at_size",
    "from_published",
    "load_pretrained",
    "load_published",
    "patchify",
    "preset",
    "record_attention",
    "resize_positions",
    "sincos_2d",
    "unpatchify",
]
