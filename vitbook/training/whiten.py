"""A patch projection that starts from the data instead of from chance."""

import torch

from vitbook.data.augment import normalize
from vitbook.patches import patchify


@torch.no_grad()
def whiten(embedding, images, scale=2.0, floor=0.01):
    """Let the first outputs of a patch projection be the patches, whitened.

    The pixels of a patch are nearly equal, so raw patches vary far more in brightness
    than in detail, and a projection drawn at random passes on little else. The
    principal directions of the patches, each divided by its standard deviation, would
    all be equally loud; ``floor`` keeps down those that hardly vary. The other
    outputs stay random, and all weights are trained as usual.

    Args:
        embedding: a :class:`vitbook.embeddings.PatchEmbedding`; changed in place.
        images: (image, channel, height, width), uint8; the first 5,000 are looked at.
        scale: standard deviation of the loudest outputs. It sets how loud the patch is
            beside its position, whose entries lie between -1 and 1.
        floor: added to the variances, as a share of the mean variance, so that
            directions that hardly occur are not blown up.

    Raises:
        ValueError: the model is narrower than a patch has numbers.
    """
    weight, bias = embedding.projection.weight, embedding.projection.bias
    if weight.shape[0] < weight.shape[1]:
        raise ValueError(
            f"whitening needs dim of at least {weight.shape[1]}, the numbers of a patch; "
            f"got dim={weight.shape[0]}"
        )
    patches = patchify(normalize(images[:5000].cpu()), embedding.patch_size)
    patches = patches.flatten(0, 1).double()  # which Apple GPUs have not
    mean = patches.mean(dim=0)
    variances, directions = torch.linalg.eigh((patches - mean).T.cov())
    loud_first = variances.argsort(descending=True)
    variances, directions = variances[loud_first], directions[:, loud_first]
    rows = scale * directions.T / (variances + floor * variances.mean()).sqrt()[:, None]
    weight[: len(rows)] = rows.to(weight)
    bias[: len(rows)] = -(rows @ mean).to(bias)
