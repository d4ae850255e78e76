"""RandAugment on whole batches, with torchvision's own operations."""

import torch


def rand_augment(images, operations, magnitude):
    """Each image gets ``operations`` changes, drawn for it alone (Cubuk et al. 2020).

    torchvision's RandAugment draws once per call, so that a batch would be changed
    all over in the same way. Here every image draws; those that drew the same
    change go through torchvision together.

    Args:
        images: (batch, channel, height, width), uint8.
        operations: how many changes each image gets, one after the other.
        magnitude: how strong they are, 0…30, torchvision's scale (the paper's and
            timm's end at 10). Signs are drawn.

    Returns:
        uint8, same shape.
    """
    changes = space(magnitude / 30, images.shape[-2:])
    if images.shape[1] == 1:  # grey has no colour to change
        changes = {name: change for name, change in changes.items() if name != "color"}
    images = images.clone()
    for _ in range(operations):
        drawn = torch.randint(2 * len(changes), (len(images),), device=images.device)
        for k, change in enumerate(changes.values()):
            for sign in (1, -1):
                chosen = (drawn == 2 * k + (sign < 0)).nonzero()[:, 0]
                if len(chosen):
                    images[chosen] = change(images[chosen], sign)
    return images


def space(strength, shape):
    """The fourteen changes of RandAugment's Table 1 as functions of (images, sign).

    Args:
        strength: 0…1; full strength is 0.3 of shear, 30°, 0.9 of colour, 0.45 of
            height or width in translation, as in torchvision.
        shape: (height, width) of the images in pixels.
    """
    from vitbook.compat import load_torchvision

    f = load_torchvision("transforms.v2.functional")
    # torchvision shears about the corner of the image unless told the upper left one.
    corner = {"angle": 0.0, "scale": 1.0, "center": [0, 0]}
    degrees = torch.tensor(0.3 * strength).atan().rad2deg().item()
    down, across = (int(150 / 331 * side * strength) for side in shape)

    def moved(images, shear=(0.0, 0.0), translate=(0, 0)):
        return f.affine(images, shear=list(shear), translate=list(translate), **corner)

    return {
        "identity": lambda x, sign: x,
        "shear x": lambda x, sign: moved(x, shear=(sign * degrees, 0.0)),
        "shear y": lambda x, sign: moved(x, shear=(0.0, sign * degrees)),
        "translate x": lambda x, sign: moved(x, translate=(sign * across, 0)),
        "translate y": lambda x, sign: moved(x, translate=(0, sign * down)),
        "rotate": lambda x, sign: f.rotate(x, sign * 30 * strength),
        "brightness": lambda x, sign: f.adjust_brightness(x, 1 + sign * 0.9 * strength),
        "color": lambda x, sign: f.adjust_saturation(x, 1 + sign * 0.9 * strength),
        "contrast": lambda x, sign: f.adjust_contrast(x, 1 + sign * 0.9 * strength),
        "sharpness": lambda x, sign: f.adjust_sharpness(x, 1 + sign * 0.9 * strength),
        "posterize": lambda x, sign: f.posterize(x, 8 - round(4 * strength)),
        "solarize": lambda x, sign: f.solarize(x, 255 * (1 - strength)),
        "autocontrast": lambda x, sign: f.autocontrast(x),
        "equalize": lambda x, sign: f.equalize(x),
    }
