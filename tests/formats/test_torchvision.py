"""alexnet.formats.torchvision; most of it needs PyTorch, which the project does not."""

import sys

import numpy as np
import pytest
from support import thin

from alexnet.errors import UserError
from alexnet.formats import layout, torchvision
from alexnet.models import network


def test_without_pytorch_the_line_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"needs PyTorch \(pip install torch\); or save it"):
        torchvision.read_pth(tmp_path / "net.pth")


@pytest.mark.slow
def test_logits_are_those_of_a_pytorch_module(tmp_path):
    library = pytest.importorskip("torch")
    nn = library.nn

    class AlexNet(nn.Module):
        """torchvision's, with few kernels."""

        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(
                *(nn.Conv2d(3, 8, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
                *(nn.Conv2d(8, 12, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
                *(nn.Conv2d(12, 16, 3, padding=1), nn.ReLU()),
                *(nn.Conv2d(16, 12, 3, padding=1), nn.ReLU()),
                *(nn.Conv2d(12, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)),
            )
            self.classifier = nn.Sequential(
                *(nn.Dropout(), nn.Linear(8 * 2 * 2, 12), nn.ReLU()),
                *(nn.Dropout(), nn.Linear(12, 10), nn.ReLU()),
                nn.Linear(10, 7),
            )

        def forward(self, x):
            return self.classifier(self.features(x).flatten(1))

    library.manual_seed(0)
    theirs = AlexNet().eval()
    library.save(theirs.state_dict(), tmp_path / "net.pth")
    images = thin.images("torchvision_alexnet")
    x = (images / np.float32(255) - np.float32([0.485, 0.456, 0.406])) / np.float32(
        [0.229, 0.224, 0.225]
    )
    with library.no_grad():
        wanted = theirs(library.from_numpy(x).permute(0, 3, 1, 2)).numpy()

    net = thin.thin("torchvision_alexnet")(classes=7)
    params = layout.ours(net, torchvision.NAMES, torchvision.read_pth(tmp_path / "net.pth"))
    mean = 255 * np.float32([0.485, 0.456, 0.406])
    logits, _ = network.apply(net, params, images - mean)
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.slow
def test_damaged_files_are_one_line(tmp_path):
    library = pytest.importorskip("torch")
    path = tmp_path / "net.pth"
    library.save({"a": library.ones(50)}, path)
    whole = path.read_bytes()
    assert set(torchvision.read_pth(path)) == {"a"}
    for content in (b"", whole[:100], whole[:-200], b"\xff" * 100, b"text"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"net.pth is damaged, or ") as caught:
            torchvision.read_pth(path)
        assert "\n" not in str(caught.value)
    library.save(library.nn.Linear(2, 2), path)  # the whole module, as many tutorials do
    with pytest.raises(
        UserError, match=r"holds more than tensors: save a state_dict with"
    ) as caught:
        torchvision.read_pth(path)
    assert "weights_only" not in str(caught.value)
    library.save({"state_dict": {"a": library.ones(2)}}, path)
    with pytest.raises(UserError, match="holds no state_dict"):
        torchvision.read_pth(path)
    with pytest.raises(UserError, match=r"none.pth is not a file"):
        torchvision.read_pth(tmp_path / "none.pth")


class Program:
    """An object whose file runs a program when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.slow
def test_a_file_cannot_run_a_program(tmp_path):
    library = pytest.importorskip("torch")
    library.save({"a": Program(str(tmp_path / "made"))}, tmp_path / "net.pth")
    with pytest.raises(UserError, match=r"net.pth is damaged, or holds more than tensors"):
        torchvision.read_pth(tmp_path / "net.pth")
    assert not (tmp_path / "made").exists()
