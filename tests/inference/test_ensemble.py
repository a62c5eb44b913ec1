"""alexnet.inference.ensemble and evaluate: the average of several nets' softmax outputs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import reference
from support.tiny import drawn, plant, tiny_config

from alexnet import evaluate
from alexnet.data.augment import evaluation_inputs
from alexnet.errors import UserError
from alexnet.inference.ensemble import Ensemble
from alexnet.models import network
from alexnet.training import evaluation, setup
from alexnet.workdir import checkpoint, record

pytestmark = pytest.mark.usefixtures("compile_quickly")


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(reference.log_softmax(logits.astype(np.float64)))


def by_sorting(probs_NK: np.ndarray, labels_N: np.ndarray) -> evaluation.Means:
    places = [
        list(np.argsort(-probs, kind="stable")).index(label)
        for probs, label in zip(probs_NK, labels_N, strict=True)
    ]
    loss = -np.log(probs_NK[np.arange(len(labels_N)), labels_N]).mean()
    top1, top5 = (np.mean(np.array(places) >= k) for k in (1, 5))
    return evaluation.Means(loss, top1, top5, len(labels_N))


def batches(log_probs_NK, labels_N, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Batches as an evaluation keeps them, the last one padded."""
    fill = -len(labels_N) % size
    log_probs_NK = np.pad(log_probs_NK, ((0, fill), (0, 0)), constant_values=np.nan)
    labels_N = np.pad(labels_N, (0, fill), constant_values=-1)
    parts = len(labels_N) // size
    return list(zip(np.split(log_probs_NK, parts), np.split(labels_N, parts), strict=True))


def test_the_average_is_that_of_float64_softmaxes():
    random = np.random.default_rng(0)
    labels = random.integers(0, 8, 50)
    logits = [3 * random.normal(size=(50, 8)).astype(np.float32) for _ in range(3)]
    weights = (0.5, 0.2, 0.3)
    average = Ensemble()
    for weight, one, size in zip(weights, logits, (50, 16, 7), strict=True):
        log_probs = reference.log_softmax(one.astype(np.float64)).astype(np.float32)
        average.add("net", weight, batches(log_probs, labels, size))
    assert average.nets == 3
    expected = by_sorting(
        sum(w * softmax(one) for w, one in zip(weights, logits, strict=True)), labels
    )
    assert 0 < expected.top5_error < expected.top1_error < 1
    assert average.means().row() == pytest.approx(expected.row(), rel=1e-5)


def test_a_net_averaged_with_itself_is_itself():
    random = np.random.default_rng(1)
    log_probs = reference.log_softmax(random.normal(size=(40, 6))).astype(np.float32)
    labels = random.integers(0, 6, 40)
    alone, thrice = Ensemble(), Ensemble()
    alone.add("net", 1.0, batches(log_probs, labels, 8))
    for weight in (0.2, 0.3, 0.5):
        thrice.add("net", weight, batches(log_probs, labels, 8))
    np.testing.assert_array_equal(np.float32(thrice.log_probs_NK), log_probs)
    assert thrice.means() == alone.means()


def test_probabilities_that_vanish_still_count():
    average = Ensemble()
    for _ in range(2):
        average.add("net", 0.5, [(np.float32([[0, -200]]), np.array([1]))])
    assert average.means().loss == pytest.approx(200)


def test_other_images_are_not_averaged():
    average = Ensemble()
    average.add("a", 0.5, [(np.zeros((2, 3), np.float32), np.array([0, 1]))])
    with pytest.raises(UserError, match="b was shown other images"):
        average.add("b", 0.5, [(np.zeros((2, 3), np.float32), np.array([1, 0]))])


def test_two_folders_of_the_same_classes_are_not_averaged(tmp_path):
    for shade, run in enumerate(("one", "two")):
        photos = tmp_path / f"photos-{run}"
        for split in ("train", "val"):
            for label in "ab":
                (photos / split / label).mkdir(parents=True)
                Image.new("L", (20, 20), shade).save(photos / split / label / "0.png")
        config = tiny_config(str(tmp_path))
        config.data.name = f"folder:{photos}"
        config.batch_size = 2
        (tmp_path / run).mkdir()
        plant(tmp_path / run, config, drawn(config))
    with pytest.raises(UserError, match="two was shown other images"):
        evaluate.main([f"--workdir={tmp_path}/one,{tmp_path}/two"])


def test_images_of_the_same_classes_are_told_apart_by_their_digest():
    average, batch = Ensemble(), (np.zeros((2, 3), np.float32), np.array([0, 1]))
    for name, images in (("a", ""), ("b", "1f"), ("c", ""), ("d", "1f")):
        average.add(name, 0.2, [batch], images)
    with pytest.raises(UserError, match="e was shown other images"):
        average.add("e", 0.2, [batch], "2e")


@pytest.fixture(scope="module")
def workdirs(tmp_path_factory, data_dir) -> list[str]:
    """Two nets of different kinds for the same digits, sure of their answers."""
    found = []
    for seed, (activation, batch_size) in enumerate((("relu", 256), ("tanh", 100))):
        config = tiny_config(data_dir)
        config.seed, config.batch_size = seed, batch_size
        config.net.activation = activation
        workdir = tmp_path_factory.mktemp(activation)
        params = drawn(config)
        params["fc8"]["kernel"] = 50 * params["fc8"]["kernel"]
        plant(workdir, config, params)
        found.append(str(workdir))
    return found


def probabilities(workdir: str) -> tuple[np.ndarray, np.ndarray]:
    """One net's probabilities for the validation set, centre crop, in one batch; and the labels."""
    params, _ = checkpoint.load_params(workdir)
    run = setup.setup(record.saved_config(Path(workdir)))
    images, labels = run.store.read("validation", range(run.store.counts["validation"]))
    x_BHWC = evaluation_inputs(images, run.augmentation, run.store.statistics)
    return softmax(np.asarray(network.apply(run.net, params, x_BHWC)[0])), labels


def printed(capsys, *argv: str) -> list[tuple[float, float, float]]:
    """(top-1 and top-5 error in percent, loss) of each line."""
    capsys.readouterr()
    evaluate.main(argv)
    lines = capsys.readouterr().out.splitlines()
    assert all(line.endswith(", 359 images") for line in lines)
    numbers = re.compile(r"top-1 error ([\d.]+)%, top-5 error ([\d.]+)%, loss ([\d.]+),")
    return [tuple(map(float, numbers.search(line).groups())) for line in lines]


def as_printed(means: evaluation.Means) -> tuple[float, float, float]:
    return (100 * means.top1_error, 100 * means.top5_error, means.loss)


@pytest.mark.parametrize(
    ("flags", "weights"), [((), (0.5, 0.5)), (("--weights=3,1",), (0.75, 0.25))]
)
def test_evaluate_averages_nets_of_different_kinds(workdirs, capsys, flags, weights):
    (p, labels), (q, _) = map(probabilities, workdirs)
    found = printed(capsys, f"--workdir={','.join(workdirs)}", *flags)
    each = [p, q, weights[0] * p + weights[1] * q]
    expected = [as_printed(by_sorting(probs, labels)) for probs in each]
    assert len({one[0] for one in expected}) > 1
    for (*errors, loss), (*expected_errors, expected_loss) in zip(found, expected, strict=True):
        assert errors == pytest.approx(expected_errors, abs=0.3)  # rounding may decide one image
        assert loss == pytest.approx(expected_loss, abs=2e-4)


@pytest.mark.slow
def test_each_net_has_the_line_that_it_has_alone(workdirs, capsys):
    alone = [printed(capsys, f"--workdir={workdir}")[0] for workdir in workdirs]
    together = printed(capsys, f"--workdir={','.join(workdirs)}")
    assert together[:2] == alone
    assert printed(capsys, f"--workdir={workdirs[0]},{workdirs[0]}") == [alone[0]] * 3


@pytest.mark.slow
def test_several_devices_give_the_same_average(workdirs, capsys):
    command = [sys.executable, "-m", "alexnet.evaluate", f"--workdir={','.join(workdirs)}"]
    ends = [
        subprocess.run(
            command,
            env=os.environ | {"JAX_NUM_CPU_DEVICES": devices},
            capture_output=True,
            text=True,
            check=True,
        )
        for devices in ("1", "4")
    ]
    assert ends[0].stdout.count("\n") == 3
    assert ends[0].stdout == ends[1].stdout


@pytest.mark.parametrize(
    ("weights", "count"),
    [("1,2,3", 2), ("1", 2), ("1,-1", 2), ("1,0", 2), ("1,x", 2), ("nan,1", 2), ("2,1", 1)],
)
def test_invalid_weights_are_one_line(weights, count):
    with pytest.raises(UserError, match=f"expected {count} number"):
        evaluate.main([f"--workdir={','.join('ab'[:count])}", f"--weights={weights}"])


def test_weights_are_shares():
    assert evaluate.shares("", 4) == [0.25] * 4
    assert evaluate.shares("2,1,1", 3) == [0.5, 0.25, 0.25]


def test_nets_of_other_classes_are_not_averaged(workdirs, data_dir, tmp_path):
    for label in "abc":
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(4):
            image = np.full((20, 20, 3), 60 * number + ord(label) - 97, np.uint8)
            Image.fromarray(image).save(tmp_path / "photos" / label / f"{number}.png")
    config = tiny_config(data_dir)
    config.data.name = f"folder:{tmp_path}/photos"
    (tmp_path / "run").mkdir()
    plant(tmp_path / "run", config, drawn(config))
    with pytest.raises(
        UserError, match=r"of .* \(10\) and of .*run \(3\) differ.* cannot be averaged"
    ):
        evaluate.main([f"--workdir={workdirs[0]},{tmp_path / 'run'}"])
