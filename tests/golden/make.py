"""Made everything in this folder, once, before the files of `src/alexnet` moved to where they are.

    python tests/golden/make.py          from the project's root; needs PyTorch

Later versions load, resume and compare what this one wrote; they do not run this script again.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import sklearn.datasets
from PIL import Image

from alexnet import config as configs
from alexnet import log, nets
from alexnet.data import store
from alexnet.data.statistics import Accumulator

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
DATA = Path("tests/golden/data")
TINY = (
    "--config.data.name=golden",
    "--config.data.image_size=20",
    f"--config.data.data_dir={DATA}",
)
RUNS = {  # name: (options, epochs when it is stopped, epochs at its end)
    "one_tower": (
        *("--config=configs/digits.py", "--config.net.image_size=18", "--config.net.towers=1"),
        *(
            "--config.net.remove=conv3,conv4,conv5,fc7",
            "--config.schedule.milestones=((2.0,0.001),)",
        ),
    ),
    "two_towers": (
        *("--config=configs/digits.py", "--config.net.image_size=18", "--cpu_devices=2"),
        *("--config.net.remove=conv4,conv5,fc7", "--config.schedule.milestones=((2.0,0.001),)"),
    ),
    "cifar_80sec": (
        *("--config=configs/cifar10.py:80sec", "--config.net.image_size=20"),
        "--config.schedule.milestones=((2.0,0.0001),)",
    ),
}
SHORT = ("--config.batch_size=32", "--config.log_every=1", "--config.checkpoint_every=5")
STOPPED, ENDED = 1.5, 2.5  # epochs


def write_store(name: str, images: np.ndarray, labels: np.ndarray, classes, quality: int) -> None:
    """Four fifths for training."""
    size, count = images.shape[1], len(images) * 4 // 5
    path = store.store_path(name, str(DATA), size, quality)
    path.mkdir(parents=True)
    sums = Accumulator(size)
    for image in images[:count]:
        sums.add(image)
    splits = {"train": slice(count), "validation": slice(count, None)}
    for split, part in splits.items():
        packed = (
            store.pack(*pair, quality) for pair in zip(images[part], labels[part], strict=True)
        )
        store.write_records(path, split, packed)
    counts = {split: len(labels[part]) for split, part in splits.items()}
    store.save_info(
        store.Store(path, name, size, quality, tuple(classes), counts, "", sums.result())
    )


def stores() -> dict[str, str]:
    """One of raw pixels, of digits, and one of JPEGs, of scikit-learn's two photos."""
    digits = sklearn.datasets.load_digits()
    grey = [np.rint(image * (255 / 16)).astype(np.uint8) for image in digits.images[:200]]
    images = [np.asarray(Image.fromarray(one).convert("RGB").resize((20, 20))) for one in grey]
    write_store("golden", np.stack(images), digits.target[:200], map(str, range(10)), 0)
    tiles, labels = [], []
    for label, photo in enumerate(sklearn.datasets.load_sample_images().images):
        for y, x in ((0, 0), (0, 320), (160, 80), (200, 400), (300, 160)):
            tiles.append(np.ascontiguousarray(photo[y : y + 96, x : x + 96]))
            labels.append(label)
    write_store("photos", np.stack(tiles), np.array(labels), ("china", "flower"), 95)
    found = {}
    for name, size, quality in (("golden", 20, 0), ("photos", 96, 95)):
        opened = store.open_store(name, str(DATA), size, quality)
        for split, count in opened.counts.items():
            pixels, _ = opened.read(split, range(count))
            found[f"{name} {split}"] = hashlib.sha256(pixels.tobytes()).hexdigest()
    return found


def train(name: str, epochs: float) -> list[dict]:
    """The rows that the command has logged in the end."""
    workdir = HERE / name
    command = (sys.executable, "-m", "alexnet.train", *RUNS[name], *TINY, *SHORT)
    command = (*command, f"--workdir={workdir}", f"--config.epochs={epochs}")
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return log.read(workdir)


def machine() -> str:
    """What the last bits of a result depend on, beside the program."""
    import jaxlib

    cpu = next(
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    )
    return f"{cpu}, {os.cpu_count()} cores, jaxlib {jaxlib.__version__}"


def runs() -> dict[str, dict]:
    """Every number, as written in hexadecimal, of the steps after the interruption."""
    found = {}
    for name in RUNS:
        train(name, STOPPED)
        shutil.rmtree(HERE / name / "tensorboard")
        kept = shutil.copytree(HERE / name, HERE / f"{name}.kept")
        before = len(log.read(HERE / name))
        after = train(name, ENDED)[before:]
        rows = [
            {"step": row["step"]}
            | {key: row[key].hex() for key in ("train/loss", "validation/loss") if key in row}
            for row in after
        ]
        metadata = json.loads(
            (
                HERE / name / "checkpoints" / str(after[-1]["step"]) / "_CHECKPOINT_METADATA"
            ).read_text()
        )["custom_metadata"]
        crcs = {leaf: about["crc32"] for leaf, about in metadata["leaves"].items()}
        found[name] = {"rows": rows, "crc32": crcs}
        shutil.rmtree(HERE / name)
        kept.rename(HERE / name)
    return found


def variants() -> dict[str, dict]:
    """Every config of configs/, resolved."""
    sys.path.insert(0, str(ROOT / "tests"))
    from test_config import VARIANTS

    imagenet = VARIANTS["imagenet"]
    all_variants = VARIANTS | dict.fromkeys(("ilsvrc2010", "imagenette", "folder"), imagenet)
    return {
        f"{file}:{variant}": configs.load(
            f"configs/{file}.py{':' if variant else ''}{variant}"
        ).to_dict()
        for file, names in all_variants.items()
        for variant in names
    }


def pytorch() -> dict[str, np.ndarray]:
    """Logits and gradients of a thin two-tower net in both readings, float64, by PyTorch."""
    import torch
    from test_parity import pixels, strong, torch_weights, two_towers

    found = {}
    for preset in ("paper", "original"):
        net = nets.build(
            "alexnet",
            classes=8,
            preset=preset,
            image_size=67,
            kernels=(8, 12, 12, 8, 8),
            hidden=(12, 10),
            dropout=0.0,
        )
        params, x = strong(net), pixels(net, 3)
        weights = torch_weights(params, np.float64)
        # drop() without a mask halves, which is the test time's
        halved = {"drop6": 1.0, "drop7": 1.0}
        logits = two_towers(preset, weights, torch.tensor(x.transpose(0, 3, 1, 2)), halved)
        torch.nn.functional.cross_entropy(logits, torch.tensor([0, 3, 6])).backward()
        found[f"{preset}/logits"] = logits.detach().numpy()
        found[f"{preset}/images"] = x.astype(np.int8)
        for name, (weight, bias) in weights.items():
            found[f"{preset}/params/{name}/kernel"] = params[name]["kernel"]
            found[f"{preset}/params/{name}/bias"] = params[name]["bias"]
            found[f"{preset}/gradient/{name}/weight"] = weight.grad.numpy()
            found[f"{preset}/gradient/{name}/bias"] = bias.grad.numpy()
    return found


def main() -> None:
    os.chdir(ROOT)
    shutil.rmtree(DATA, ignore_errors=True)
    for name in RUNS:
        shutil.rmtree(HERE / name, ignore_errors=True)
    pixels = stores()
    (HERE / "configs.json").write_text(json.dumps(variants(), indent=1) + "\n")
    np.savez_compressed(HERE / "pytorch.npz", **pytorch())
    expected = {"machine": machine(), "pixels": pixels, "runs": runs()}
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
