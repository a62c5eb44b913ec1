"""What an early version wrote is loaded and resumed to the same bits; README.md says what it is."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.tiny import ROOT

from alexnet import config as configs
from alexnet import evaluate, train
from alexnet.data import store
from alexnet.data.recipe import Recipe
from alexnet.logs import metrics
from alexnet.training.settings import KINDS
from alexnet.workdir import checkpoint, migrations, snapshot
from golden.runs import RUNS, SHORT, machine

HERE = Path(__file__).parent
EXPECTED = json.loads((HERE / "expected.json").read_text())
CONFIGS = json.loads((HERE / "configs.json").read_text())
REPEATED = [  # cifar_80sec has one tower, too
    pytest.param(name, marks=pytest.mark.slow) if name == "one_tower" else name for name in RUNS
]
# What was not as in cuda-convnet (its wiki's pages Methodology and TrainingNet, its
# CroppedCIFARDataProvider and layer-params-conv-local-11pct.cfg), and has been corrected since.
CENTRE = {"augment.mean": "centre"}
CORRECTED = {
    "cifar10:conv-local-13pct": CENTRE
    | {"epochs": 160.0, "schedule.milestones": ((140, 1e-4), (150, 1e-5))},
    "cifar10:conv-local-11pct": CENTRE
    | {"optimizer.layer_decay": (("local3", 0.004), ("local4", 0.004), ("fc10", 0.01))},
}
TRAINED = ROOT / "experiments/trained/digits"


def same_machine() -> bool:
    return sys.platform == "linux" and machine() == EXPECTED["machine"]


@pytest.mark.parametrize("variant", CONFIGS)
def test_a_config_variant_equals_its_stored_version(variant):
    file, _, name = variant.partition(":")
    config = configs.load(f"{ROOT}/configs/{file}.py{':' if name else ''}{name}", KINDS)
    old, lost = migrations.migrated(CONFIGS[variant], variant)
    assert not lost
    old = configs.nested(configs.flat(old) | CORRECTED.get(variant, {}))
    assert json.loads(json.dumps(config.to_dict())) == json.loads(json.dumps(old))


@pytest.mark.parametrize(("name", "size", "quality"), [("golden", 20, 0), ("photos", 96, 95)])
def test_a_store_gives_the_same_pixels(name, size, quality):
    opened = store.open_store(Recipe(name, str(HERE / "data"), size, quality))
    for split, count in opened.counts.items():
        pixels, labels = opened.read(split, range(count))
        assert len(labels) == count
        assert hashlib.sha256(pixels.tobytes()).hexdigest() == EXPECTED["pixels"][f"{name} {split}"]


def _room(saved: dict[str, dict]) -> dict[str, np.ndarray]:
    """Arrays to read every leaf of a checkpoint into."""
    return {name: np.empty(about["shape"], about["dtype"]) for name, about in saved.items()}


def _then(leaf: str) -> str:
    """A leaf's name when these runs were made."""
    return leaf.replace("opt_state/momentum/trace", "velocity")


@pytest.mark.parametrize("name", REPEATED)
def test_a_run_is_resumed_to_the_same_numbers(name, tmp_path):
    """To the same bits on the machine that made them."""
    workdir = shutil.copytree(HERE / name, tmp_path / name)
    before = len(metrics.read_log(workdir))
    file = next(option for option in RUNS[name] if option.startswith("--config="))
    argv = [
        file.replace("configs/", f"{ROOT}/configs/"),
        *(option for option in RUNS[name] if option != file),
        *SHORT,
        *(f"--config.data.data_dir={HERE}/data", f"--workdir={workdir}"),
    ]
    if any(option.startswith("--cpu_devices") for option in argv):
        subprocess.run([sys.executable, "-m", "alexnet.train", *argv], check=True)
    else:
        train.main(argv)
    rows = metrics.read_log(workdir)[before:]
    expected = EXPECTED["runs"][name]
    for row, old in zip(rows, expected["rows"], strict=True):
        assert row["step"] == old["step"]
        for key in old.keys() - {"step"}:
            if same_machine():
                assert row[key].hex() == old[key], f"{key} of step {row['step']}"
            else:
                assert row[key] == pytest.approx(float.fromhex(old[key]), rel=1e-5)
    last = workdir / "checkpoints" / str(rows[-1]["step"])
    leaves, _ = snapshot.read(last, _room)
    norms = {_then(leaf): float(np.linalg.norm(value)) for leaf, value in leaves.items()}
    assert norms == pytest.approx(expected["norms"], rel=1e-3)
    record = json.loads((last / "_CHECKPOINT_METADATA").read_text())["custom_metadata"]
    crcs = {_then(leaf): about["crc32"] for leaf, about in record["leaves"].items()}
    assert crcs.keys() == expected["crc32"].keys()
    if same_machine():
        assert crcs == expected["crc32"]


def test_the_trained_digits_have_the_error_that_was_logged(data_dir, tmp_path, capsys):
    logged = [row for row in metrics.read_log(TRAINED) if "validation/top1_error" in row]
    best = min(logged, key=lambda row: row["validation/top1_error"])
    _, progress = checkpoint.load_params(TRAINED)
    assert len(progress.validation_errors) == 1 + logged.index(best)
    workdir = shutil.copytree(TRAINED, tmp_path / "digits")  # an evaluation is recorded there
    evaluate.main([f"--workdir={workdir}", f"--data_dir={data_dir}"])
    assert f"top-1 error {best['validation/top1_error']:.2%}" in capsys.readouterr().out
