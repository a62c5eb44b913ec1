"""The smallest things that a command takes: photos, and a config whose run takes moments."""

from pathlib import Path

import numpy as np
from PIL import Image
from support.tiny import ROOT

IMAGES = 24  # of each class

CONFIG = """
import sys
sys.path.insert(0, {configs!r})
import digits

def get_config():
    return [*digits.get_config(), {{
        "data.name": "folder:{photos}", "data.data_dir": {data_dir!r}, "data.image_size": 10,
        "net.image_size": 8, "net.remove": "conv3,conv4,conv5,pool5,fc7", "net.norm": False,
        "net.kernels": (4, 4, 4, 4, 4), "net.hidden": (8, 8), "batch_size": 8, "epochs": {epochs},
        "schedule.milestones": (), "log_every": 2, "checkpoint_every": 3,
    }}]
"""


def photos(folder: Path, seed: int = 0, validation: int = 0) -> Path:
    """Two classes of noise, 10 pixels a side; with `validation` images of each in a split."""
    random = np.random.default_rng(seed)
    splits = {"train": IMAGES, "val": validation} if validation else {"": IMAGES}
    for split, images in splits.items():
        for name in ("cats", "dogs"):
            (folder / split / name).mkdir(parents=True)
            for number in range(images):
                pixels = random.integers(0, 256, (10, 10, 3), np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number:03}.png")
    return folder


def config(folder: Path, epochs: float = 2.0, validation: int = 0) -> Path:
    """A config file of a run on such photos, which it makes in `folder`; 6 steps an epoch."""
    text = CONFIG.format(
        configs=str(ROOT / "configs"),
        photos=photos(folder / "photos", validation=validation),
        data_dir=str(folder),
        epochs=epochs,
    )
    (folder / "smallest.py").write_text(text)
    return folder / "smallest.py"
