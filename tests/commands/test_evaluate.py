"""alexnet evaluate: what it is asked for, before any net is read; and what it says of nets."""

import csv
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from support.runs import leave
from support.tiny import ROOT, drawn, tiny_config

import alexnet
from alexnet import convert, evaluate, predict, report
from alexnet.errors import UserError
from alexnet.inference import splits
from alexnet.reports.subject import Subject
from alexnet.workdir import record
from alexnet.workdir.checkpoint import Checkpoints
from alexnet.workdir.record import Progress


@pytest.fixture
def asked(monkeypatch) -> list:
    """What was called, in order."""
    calls = []
    monkeypatch.setattr(evaluate.processes, "join", lambda **how: calls.append(how))
    monkeypatch.setattr(evaluate, "evaluate", lambda *how: calls.append(how))
    return calls


def test_processes_join_first(asked, tmp_path):
    run = leave(tmp_path / "run", [0.5])
    where = {"coordinator": "127.0.0.1:9", "processes": "2", "process": "1"}
    options = [f"--{name}={value}" for name, value in where.items()]
    evaluate.main([f"--workdir={run}", "--ten_crop", *options])
    joined, evaluated = asked
    assert where.items() <= joined.items()
    assert evaluated == ([run], [1.0], "best", "validation", "ten_crop", [{}], None)


def test_processes_evaluate_the_same(asked, tmp_path, monkeypatch):
    run, compared = leave(tmp_path / "run", [0.5]), []
    monkeypatch.setattr(evaluate.processes, "check_same", compared.append)
    own = ["--coordinator=127.0.0.1:9", "--processes=2", "--process=1"]
    for where in ("--data_dir=/here", "--config.data.data_dir=/here"):
        evaluate.main([f"--workdir={run}", "--ten_crop", "--config.mesh.data=2", where, *own])
        assert asked[-1][-2] == [{"mesh.data": 2, "data.data_dir": "/here"}]
        assert compared.pop() == {
            "--weights": "",
            "--views": "ten_crop",
            "--checkpoint": "best",
            "--split": "validation",
            "--config.mesh.data": "2",
            "the run in --workdir": [record.run_of(run)],
        }


def test_a_missing_device_is_reported_before_processes_compare_anything(
    asked, tmp_path, monkeypatch
):
    def missing():
        raise UserError("jax has no device", "JAX_PLATFORMS=cuda")

    monkeypatch.setattr(evaluate.runtime, "cache_compilations", missing)
    monkeypatch.setattr(evaluate.processes, "check_same", lambda *_: pytest.fail("compared"))
    with pytest.raises(UserError, match="has no device"):
        evaluate.main([f"--workdir={leave(tmp_path / 'run', [0.5])}"])


def test_one_process_averages_runs_and_several_refuse_to(asked, tmp_path):
    runs = [leave(tmp_path / name, [0.5]) for name in "ab"]
    argv = [f"--workdir={runs[0]},{runs[1]}"]
    evaluate.main(argv)
    assert asked[-1][:2] == (runs, [0.5, 0.5])
    with pytest.raises(UserError, match="several processes cannot average runs"):
        evaluate.main([*argv, "--coordinator=127.0.0.1:9"])
    one = [f"--workdir={runs[0]}", f"--predictions={tmp_path}/found.csv"]
    evaluate.main(one)
    assert asked[-1][-1] == tmp_path / "found.csv"
    with pytest.raises(UserError, match="--predictions: only one process writes them"):
        evaluate.main([*one, "--coordinator=127.0.0.1:9"])


def test_runs_are_separated_by_commas(asked, tmp_path):
    """A shell's braces, as for a sweep, would repeat the option."""
    with pytest.raises(UserError, match=r"--workdir is given twice: separate runs by commas"):
        evaluate.main([f"--workdir={tmp_path}/a", f"--workdir={tmp_path}/b"])
    assert not asked


def test_a_mistake_in_the_second_run_is_found_before_the_first_is_evaluated(asked, tmp_path):
    runs = [leave(tmp_path / name, [0.5]) for name in "ab"]
    (runs[1] / "evaluation.json").write_text("{")
    with pytest.raises(UserError, match=r"b/evaluation.json is damaged"):
        evaluate.main([f"--workdir={runs[0]},{runs[1]}"])
    assert not asked


def test_only_settings_of_the_data_and_of_the_mesh_may_change(asked, tmp_path):
    run = leave(tmp_path / "run", [0.5])
    changes = {"data.data_dir": "/elsewhere", "mesh.data": 2}
    settings = [f"--config.{name}={value}" for name, value in changes.items()]
    evaluate.main([f"--workdir={run}", *settings])
    assert asked[-1][-2] == [changes]
    with pytest.raises(UserError, match=r"^--config.net.norm: how a run was trained cannot change"):
        evaluate.main([f"--workdir={run}", "--config.net.norm=false"])
    with pytest.raises(UserError, match=r"^--data_dir is --config.data.data_dir: write one"):
        evaluate.main([f"--workdir={run}", "--data_dir=/there", *settings])


ROW = {
    "split": "validation",
    "views": "ten_crop",
    "checkpoint": 7,
    "dataset": "digits",
    "top1_error": 0.125,
    "top5_error": 0.01,
    "loss": 0.25,
    "count": 80,
}


class Net:
    """A net whose errors are known."""

    history = ({"step": 7, "top1_error": 0.125}, {"step": 9, "top1_error": 0.25})

    def __init__(self, source, classes: str = "abcdef"):
        self.about = SimpleNamespace(source=source, epoch=2.5, step=7)
        self.classes = tuple(classes)
        self.run = SimpleNamespace(store=SimpleNamespace(contents={"validation": "a1"}))

    other: tuple[str, ...] = ()  # splits whose images are others than then
    net = property(lambda self: self)
    chosen = splits.Splits.chosen

    def splits(self, overrides, programs):
        return self

    def notes(self, split):
        return [one for one in self.other if one == split]

    def evaluate(self, split, views, keep):
        assert keep is None
        return ROW | {"notes": ["a note"]}


@pytest.mark.parametrize("process", [0, 1])
def test_the_first_process_says_and_records_what_was_found(tmp_path, monkeypatch, capsys, process):
    run = leave(tmp_path / "run", [0.5])
    monkeypatch.setattr(evaluate, "load", lambda path, step, overrides: Net(path))
    monkeypatch.setattr(evaluate.jax, "process_index", lambda: process)
    evaluate.evaluate([run], [1.0], "best", "validation", "ten_crop", [{}])
    out, error = capsys.readouterr()
    if process:
        assert (out, error, record.evaluations(run)) == ("", "", [])
        return
    assert out == (
        f"{run} after 2.50 epochs, digits validation, ten-crop (10 views): "
        "top-1 error 12.50%, top-5 error 1.00%, loss 0.2500, 80 images\n"
    )
    assert error == (
        "a note\n"
        "step 7 was chosen by its error on these very images, the lowest of 2 validations: quote "
        "the error of the last checkpoint (--checkpoint=last)\n"
    )
    assert record.evaluations(run) == [ROW | {"images": "a1"}]


@pytest.mark.parametrize(
    ("step", "split", "history", "other"),
    [
        ("last", "validation", (7, 9), ()),  # it was asked for
        (7, "validation", (7, 9), ()),
        ("best", "test", (7, 9), ()),  # other images chose it
        ("best", "validation", (7, 9), ("validation",)),
        ("best", "validation", (5, 7), ()),  # it is the last one
        ("best", "validation", (7,), ()),
        ("best", "validation", (), ()),  # imported weights
    ],
)
def test_a_checkpoint_that_these_images_did_not_choose_gets_no_line(
    tmp_path, monkeypatch, capsys, step, split, history, other
):
    run = leave(tmp_path / "run", [0.5])
    rows = [{"step": number, "top1_error": abs(number - 7) / 8} for number in history]
    monkeypatch.setattr(Net, "history", rows)
    monkeypatch.setattr(Net, "other", other)
    monkeypatch.setattr(evaluate, "load", lambda path, step, overrides: Net(path))
    evaluate.evaluate([run], [1.0], step, split, "centre", [{}])
    assert capsys.readouterr().err == "a note\n"


@pytest.mark.parametrize("other", "bc")
def test_the_classes_of_every_net_are_compared(tmp_path, monkeypatch, other):
    runs = [tmp_path / name for name in "abc"]
    nets = {run: Net(run, "yx" if run.name == other else "xy") for run in runs}
    monkeypatch.setattr(evaluate, "load", lambda path, step, overrides: nets[path])
    with pytest.raises(UserError, match=rf"the classes of .*/a .2. and of .*/{other} .2. differ"):
        evaluate.evaluate(runs, [1 / 3] * 3, "best", "validation", "centre", [{}] * 3)


@pytest.fixture(scope="module")
def two(tmp_path_factory, data_dir) -> Path:
    """A run whose best checkpoint is the first, and whose last has other weights."""
    workdir, config = tmp_path_factory.mktemp("two"), tiny_config(data_dir)
    record.save_config(config, workdir)
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        for step, error in ((1, 0.1), (2, 0.9)):
            config.seed = step
            checkpoints.save(step, {"params": drawn(config)}, Progress(epoch=float(step)), error)
    return workdir


@pytest.mark.usefixtures("compile_quickly")
@pytest.mark.parametrize(("which", "step"), [("best", 1), ("last", 2)])
def test_the_checkpoint_that_is_asked_for_is_used(two, capsys, which, step):
    evaluate.main([f"--workdir={two}", f"--checkpoint={which}"])
    assert f"{two} after {step}.00 epochs" in capsys.readouterr().out
    photo = str(ROOT / "experiments/trained/three.png")
    predict.main([f"--workdir={two}", f"--checkpoint={which}", "--json", photo])
    [best] = alexnet.load(two, step).top(photo)
    assert json.loads(capsys.readouterr().out)[photo] == [list(pair) for pair in best]
    assert Subject(two, which).net.about.step == step


@pytest.mark.usefixtures("compile_quickly")
@pytest.mark.parametrize("steps", [(1,), (1, 2)])
def test_predictions_for_every_image_are_written_of_one_net_or_of_the_average(
    two, tmp_path, capsys, steps
):
    """The numbers are those of `Classifier.predict`, which reads no batches of a split."""
    runs, path = [two], tmp_path / "found.csv"
    if len(steps) == 2:  # the same run under another name, with another best checkpoint
        runs.append(shutil.copytree(two, tmp_path / "other"))
        shutil.rmtree(tmp_path / "other/checkpoints/1")
    evaluate.main([f"--workdir={','.join(map(str, runs))}", f"--predictions={path}"])
    said = capsys.readouterr()
    nets = [alexnet.load(run, step) for run, step in zip(runs, steps, strict=True)]
    store = nets[0].splits().run.store
    count = store.counts["validation"]
    images, labels = store.read("validation", range(count))
    p_NK = np.mean([net.predict(list(images)) for net in nets], axis=0)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == [store.classes[label] for label in labels]
    assert [row["top1"] for row in rows] == [store.classes[k] for k in p_NK.argmax(1)]
    for key, expected in (("label_p", p_NK[range(count), labels]), ("top1_p", p_NK.max(1))):
        np.testing.assert_allclose([float(row[key]) for row in rows], expected, atol=2e-5)
    wrong = np.mean([row["label"] != row["top1"] for row in rows])
    assert f"top-1 error {wrong:.2%}" in said.out.splitlines()[-1]
    assert said.err.endswith(f"{count} predictions in {path}\n")


@pytest.mark.usefixtures("compile_quickly")
def test_predictions_over_ten_crops_say_what_a_net_never_saw(two, capsys):
    photo = str(ROOT / "experiments/trained/three.png")
    predict.main([f"--workdir={two}", "--ten_crop", "--json", photo])
    out, error = capsys.readouterr()
    [best] = alexnet.load(two).top(photo, views="ten_crop")
    assert json.loads(out)[photo] == [list(pair) for pair in best]
    assert error.startswith(f"{two} never saw reflections (config.augment.flip=False), but half of")


@pytest.mark.parametrize(
    ("views", "flip", "stored", "said"),
    [
        ("centre", False, 28, []),
        ("nine_crop", False, 32, []),
        ("nine_crop", False, 28, ["sees images whole"]),
        ("ten_crop", True, 32, []),
        ("ten_crop", False, 28, ["never saw reflections", "sees images whole"]),
    ],
)
def test_views_that_tell_nothing_are_named(views, flip, stored, said):
    net = SimpleNamespace(
        about=SimpleNamespace(source="runs/a", image_size=stored),
        config=SimpleNamespace(augment=SimpleNamespace(flip=flip)),
        net=SimpleNamespace(image_size=28),
    )
    found = splits.about_views(net, views)
    assert len(found) == len(said)
    assert all(part in line for part, line in zip(said, found, strict=True))


@pytest.mark.usefixtures("compile_quickly")
def test_what_an_export_lacks_or_needs_is_said(two, tmp_path, capsys):
    convert.main([f"--workdir={two}", f"--target={tmp_path / 'net.stablehlo'}"])
    said = capsys.readouterr().out
    assert "RGB photos: scale their shorter side to 20 pixels, take the central 18\n" in said


@pytest.mark.usefixtures("compile_quickly")
@pytest.mark.parametrize(("which", "step"), [("best", 1), ("last", 2), ("1", 1)])
def test_the_checkpoint_that_is_asked_for_is_exported_and_reported(two, tmp_path, which, step):
    file, page = tmp_path / "net.safetensors", tmp_path / "page.html"
    convert.main([f"--workdir={two}", f"--checkpoint={which}", f"--target={file}"])
    exported, expected = alexnet.load(file).params, alexnet.load(two, step).params
    jax.tree.map(np.testing.assert_array_equal, exported, expected)
    report.main([str(two), f"--checkpoint={which}", f"--output={page}", "--parts=filters"])
    assert f"conv1 at step {step} (epoch {step:.2f})" in page.read_text()
