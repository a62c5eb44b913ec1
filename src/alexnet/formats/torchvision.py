"""PyTorch's .pth, and torchvision's names for the layers of its alexnet."""

import pickle
from pathlib import Path

import numpy as np

from alexnet.errors import UserError, one_line

NETS = ("torchvision_alexnet",)
MEAN_PIXEL = (123.675, 116.28, 103.53)  # 255 x (.485, .456, .406), which its transforms subtract
NAMES = {
    "conv1": "features.0",
    "conv2": "features.3",
    "conv3": "features.6",
    "conv4": "features.8",
    "conv5": "features.10",
    "fc6": "classifier.1",
    "fc7": "classifier.4",
    "fc8": "classifier.6",
}


def read_pth(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a saved `state_dict`.

    Raises UserError without PyTorch, and for a file that is damaged or holds something else.
    """
    try:
        import torch
    except ImportError:
        raise UserError(
            f"{path}: reading it needs PyTorch (pip install torch); or save it elsewhere with "
            "safetensors.torch.save_file(model.state_dict(), 'alexnet.safetensors')"
        ) from None
    if not path.is_file():
        raise UserError(f"{path} is not a file")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # its text recommends an option that nobody can give here
        raise UserError(
            f"{path} is damaged, or holds more than tensors: save a state_dict with "
            "torch.save(model.state_dict(), ...)"
        ) from None
    except Exception as error:  # PyTorch raises nearly anything on damaged files
        raise UserError(f"{path} is damaged, or not a PyTorch file: {one_line(error)}") from None
    if not isinstance(found, dict) or not all(isinstance(x, torch.Tensor) for x in found.values()):
        raise UserError(
            f"{path} holds no state_dict: save one with torch.save(model.state_dict(), ...)"
        )
    return {name: tensor.detach().float().numpy() for name, tensor in found.items()}
