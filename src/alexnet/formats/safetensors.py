"""The .safetensors format: named arrays and a dict of strings."""

from pathlib import Path

import numpy as np
from safetensors import SafetensorError, numpy, safe_open

from alexnet.errors import UserError, one_line


def read_safetensors(
    path: Path, whole: bool = True
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(float32 arrays, or none unless `whole`, and metadata).

    Raises UserError for a damaged file or dtypes numpy lacks.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file")
    try:
        with safe_open(path, framework="numpy") as file:
            names = file.keys() if whole else ()
            arrays = {name: file.get_tensor(name) for name in names}
            metadata = file.metadata() or {}
    except (SafetensorError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is damaged, or not a .safetensors of types that numpy has: {one_line(error)}"
        ) from None
    return {name: array.astype(np.float32) for name, array in arrays.items()}, metadata


def content(arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> bytes:
    """The file of these arrays."""
    return numpy.save({name: np.ascontiguousarray(x) for name, x in arrays.items()}, metadata)
