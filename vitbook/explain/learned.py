"""Chapter 6: what the embedding has learned, drawn without any picture."""

import torch
import torch.nn.functional as F
from einops import rearrange


def position_similarity(table, grid):
    """Cosine similarity between all position embeddings. ViT paper, Figure 7 centre.

    Args:
        table: (patch, dim), without the class token's row.
        grid: (rows, columns) of patches.

    Returns:
        (rows, columns, rows, columns): entry [i, j] is the map of position (i, j).
    """
    unit = F.normalize(table, dim=-1)
    pattern = "(h1 w1) (h2 w2) -> h1 w1 h2 w2"
    rows, columns = grid
    return rearrange(unit @ unit.T, pattern, h1=rows, w1=columns, h2=rows, w2=columns)


def patch_filters(projection, channels, patch_size, count):
    """Principal components of the patch projection. ViT paper, Figure 7 left.

    Args:
        projection: weight of the patch embedding, (dim, channel * p * p).
        channels, patch_size: how to fold a row back into a patch.
        count: how many components; at most min(dim, channel * p * p).

    Returns:
        components (count, channel, p, p) of unit length, strongest first, and the
        share of the variance that each holds (count,).
    """
    centred = projection - projection.mean(dim=0)
    _, strength, directions = torch.linalg.svd(centred, full_matrices=False)
    strongest = directions.abs().argmax(dim=1, keepdim=True)
    directions = directions * directions.gather(1, strongest).sign()  # its sign is arbitrary
    components = directions[:count].reshape(count, channels, patch_size, patch_size)
    return components, strength[:count] ** 2 / (strength**2).sum()
