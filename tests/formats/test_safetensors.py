"""alexnet.formats.safetensors."""

import numpy as np
import pytest
from safetensors import numpy as library

from alexnet.errors import UserError
from alexnet.formats import safetensors


def test_the_library_reads_what_is_written(tmp_path):
    arrays = {"b": np.arange(6, dtype=np.float32).reshape(2, 3).T, "a": np.float32([np.pi])}
    content = safetensors.content(arrays, {"said": "so"})
    for name, array in library.load(content).items():
        np.testing.assert_array_equal(array, arrays[name])
    path = tmp_path / "net.safetensors"
    path.write_bytes(content)
    found, metadata = safetensors.read_safetensors(path)
    assert metadata == {"said": "so"}
    assert found.keys() == arrays.keys()


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_precisions_become_float32(tmp_path, dtype):
    path = tmp_path / "net.safetensors"
    library.save_file({"a": np.array([0.1, 2], dtype)}, path)
    found, metadata = safetensors.read_safetensors(path)
    assert found["a"].dtype == np.float32
    np.testing.assert_array_equal(found["a"], np.array([0.1, 2], dtype).astype(np.float32))
    assert metadata == {}


def test_damaged_files_are_one_line(tmp_path):
    path = tmp_path / "net.safetensors"
    whole = library.save({"a": np.ones((5, 5), np.float32)})
    for content in (b"", whole[:4], whole[:40], whole[:-1], b"\xff" * 100, b"PK\x03\x04" * 9):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"net.safetensors is damaged, or not a .safetensors"):
            safetensors.read_safetensors(path)
