"""The one place that works around other packages."""

import importlib

import torch


def load_torchvision(submodule=""):
    """Import torchvision, or a part of it such as "models", beside any build of torch.

    The registry's torchvision is linked to CUDA. Beside a CPU build of torch its
    compiled operators cannot load, and the import then dies with "operator
    torchvision::nms does not exist" (pytorch/vision issues 8985 and 9085). Declaring
    the two schemas that it looks up lets the import pass; data sets, transforms and
    models need none of those operators.
    """
    name = f"torchvision.{submodule}" if submodule else "torchvision"
    try:
        return importlib.import_module(name)
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
    schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    load_torchvision.library = torch.library.Library("torchvision", "DEF")  # kept alive
    for operator in ("nms", "qnms"):
        load_torchvision.library.define(operator + schema)
    return importlib.import_module(name)
