"""Chapter 4: the whole Vision Transformer."""

from dataclasses import dataclass, replace
from importlib.resources import files

from torch import nn

from vitbook.attention import check_heads
from vitbook.embeddings import Embeddings
from vitbook.encoder import EncoderBlock

POOLS = ("cls", "mean")
POSITIONS = ("learned", "sincos", "none")


@dataclass(frozen=True)
class ViTConfig:
    """Everything that fixes a model.

    A row of Table 1 of Dosovitskiy et al. 2021 is depth, dim, mlp_dim and heads.

    Args:
        image_size: side of the (square) images in pixels, or (height, width).
        patch_size: side of a patch in pixels.
        channels: 3 for colour, 1 for grey.
        classes: number of logits.
        dim: width of a token, "Hidden size D" in that table.
        depth: number of encoder blocks, "Layers".
        heads: attention heads per block.
        mlp_dim: hidden width of each MLP, "MLP size".
        pool: "cls" reads the class token, "mean" the average of the patch tokens.
        position: "learned", "sincos" or "none".
        dropout: rate on the embeddings and inside the MLPs (in the paper, on attention's
            output too).
        attention_dropout: rate on the attention weights.
        drop_path: rate in the last block; it rises linearly from 0 in the first, so that a
            single block has none.
        attention_bias: whether query, key and value projections have a bias.

    Raises:
        ValueError: sizes that do not divide or are below 1, rates below 0 or not below 1, or an
            unknown pool or position.
    """

    image_size: int | tuple[int, int]
    patch_size: int
    channels: int
    classes: int
    dim: int
    depth: int
    heads: int
    mlp_dim: int
    pool: str = "cls"
    position: str = "learned"
    dropout: float = 0.0
    attention_dropout: float = 0.0
    drop_path: float = 0.0
    attention_bias: bool = True

    def __post_init__(self):
        check_heads(self.dim, self.heads)
        height, width = self.image_shape
        for name in ("patch_size", "channels", "classes", "dim", "depth", "mlp_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if min(height, width) < 1:
            raise ValueError(f"image_size must be at least 1, got {self.image_size}")
        for name in ("dropout", "attention_dropout", "drop_path"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be from 0 to below 1, got {getattr(self, name)}")
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f"patch_size={self.patch_size} does not divide image_size={self.image_size}; "
                f"choose a patch size that divides both {height} and {width}"
            )
        if self.pool not in POOLS or self.position not in POSITIONS:
            raise ValueError(
                f"pool must be one of {POOLS} and position one of {POSITIONS}, "
                f"got pool={self.pool!r}, position={self.position!r}"
            )
        if self.position == "sincos" and self.dim % 4:
            raise ValueError(f'position="sincos" needs dim divisible by 4, got dim={self.dim}')

    @property
    def image_shape(self):
        """(height, width) in pixels."""
        size = self.image_size
        return (size, size) if isinstance(size, int) else tuple(size)

    @property
    def grid(self):
        """(rows, columns) of patches."""
        height, width = self.image_shape
        return height // self.patch_size, width // self.patch_size

    @property
    def tokens(self):
        """Length of the sequence: patches, plus one if there is a class token."""
        rows, columns = self.grid
        return rows * columns + (self.pool == "cls")


class VisionTransformer(nn.Module):
    """Embed, encode, pool, classify: eq. 1–4 of Dosovitskiy et al. 2021.

    Args:
        config: a :class:`ViTConfig`.

    Shapes: images (batch, channel, height, width) → logits (batch, classes).

    Raises:
        ValueError: at the call, images of another size or channel count.
    """

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embeddings = make_embeddings(config)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.Sequential(*make_blocks(config))
        self.norm = nn.LayerNorm(config.dim, eps=1e-6)
        self.head = nn.Linear(config.dim, config.classes)
        init_weights(self)

    def encode(self, images):
        """Normalised tokens after the last block: (batch, token, dim)."""
        check_images(images, self.config)
        return self.norm(self.blocks(self.dropout(self.embeddings(images))))

    def forward(self, images):
        return self.head(pool(self.encode(images), self.config.pool))


def make_embeddings(config):
    """The embedding layer of a configuration; a class token only where it is read."""
    sizes = (config.grid, config.patch_size, config.channels, config.dim)
    return Embeddings(*sizes, class_token=config.pool == "cls", position=config.position)


def make_blocks(config):
    """One encoder block per layer, with drop-path rising linearly to its full rate."""
    for layer in range(config.depth):
        rate = config.drop_path * layer / max(1, config.depth - 1)
        rates = (config.dropout, config.attention_dropout, rate)
        sizes = (config.dim, config.heads, config.mlp_dim)
        yield EncoderBlock(*sizes, *rates, bias=config.attention_bias)


def pool(tokens, kind):
    """One vector per image, the ``y`` of eq. 4: (batch, token, dim) → (batch, dim)."""
    return tokens[:, 0] if kind == "cls" else tokens.mean(dim=1)


def init_weights(model):
    """Xavier for matrices, zero biases, a small head.

    ViT's code draws query, key and value matrices one by one (ours, as one matrix, are
    smaller by √2), the patch matrix by LeCun's rule, the MLPs' biases with deviation 1e-6,
    and starts the head at zero.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.trunc_normal_(model.head.weight, std=0.02)


def check_images(images, config):
    """Refuse images that are not the ones the model was built for."""
    expected = (config.channels, *config.image_shape)
    if images.ndim != 4 or tuple(images.shape[1:]) != expected:
        raise ValueError(
            f"expected images of shape (batch, {', '.join(map(str, expected))}), "
            f"got {tuple(images.shape)}; resize or convert the images, or build the model "
            f"with image_size={config.image_size} and channels={config.channels} changed"
        )
    if not images.is_floating_point():
        raise ValueError(
            f"expected floats around zero, got {images.dtype}; bring whole numbers of 0…255 to "
            "what the model was trained with, by vitbook.data.normalize(images)"
        )


def preset(name, **changes):
    """The configuration of a known model, optionally with some fields changed.

    Args:
        name: one of the names in ``vitbook/presets.yaml``, such as "vit-base-16".
        **changes: fields of :class:`ViTConfig` to set otherwise, as ``classes=100``.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    import yaml  # only needed here: keeps "import vitbook" light

    presets = yaml.safe_load(files("vitbook").joinpath("presets.yaml").read_text("utf-8"))
    if name not in presets:
        raise ValueError(f"no preset is called {name!r}; known: {', '.join(sorted(presets))}")
    return replace(ViTConfig(**presets[name]["config"]), **changes)
