"""The options of the runs in this folder, and the machine that their last bits depend on."""

import os
import platform
from pathlib import Path

import jaxlib

FEW = "--config.net.remove=conv3,conv4,conv5,fc7"
DROP = "--config.schedule.milestones=((2.0,0.001),)"
RUNS = {
    "one_tower": (
        *("--config=configs/digits.py", "--config.net.image_size=18", "--config.net.towers=1"),
        *(FEW, DROP),
    ),
    "two_towers": (
        *("--config=configs/digits.py", "--config.net.image_size=18", "--cpu_devices=2"),
        *("--config.net.remove=conv4,conv5,fc7", DROP),
    ),
    "cifar_80sec": (
        *("--config=configs/cifar10.py:80sec", "--config.net.image_size=20"),
        "--config.schedule.milestones=((2.0,0.0001),)",
    ),
}
SHORT = (
    *("--config.data.name=golden", "--config.data.image_size=20", "--config.batch_size=32"),
    *("--config.log_every=1", "--config.checkpoint_every=5", "--config.epochs=2.5"),
)


def machine() -> str:
    """What the last bits of a result depend on, beside the program."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    cpu = next(names, platform.machine())  # not every system has the name
    return f"{cpu}, {os.cpu_count()} cores, jaxlib {jaxlib.__version__}"
