"""Features of a whole split: right, kept whole or not at all, and computed again when stale."""

import dataclasses
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from support.tiny import plant, tiny_config

import alexnet
from alexnet.data.store import Store
from alexnet.errors import UserError
from alexnet.inference import features
from alexnet.inference.classifier import Classifier
from alexnet.inference.features import hidden_row
from alexnet.inference.splits import Splits
from alexnet.locks import lock
from alexnet.models.build import build
from alexnet.models.table import Dense, Dropout, Net
from alexnet.training.setup import setup

pytestmark = pytest.mark.usefixtures("compile_quickly")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data_dir) -> Path:
    """The workdir of a small net with random weights."""
    config, random = tiny_config(data_dir), np.random.default_rng(0)
    config.net.remove = "conv2,conv3,conv4,conv5,fc7"
    params = jax.tree.map(
        lambda leaf: random.normal(size=leaf.shape).astype(np.float32) / 9, setup(config).shapes
    )
    workdir = tmp_path_factory.mktemp("run")
    plant(workdir, config, params)
    return workdir


@pytest.fixture(scope="module")
def place(data_dir) -> dict[str, str]:
    return {"data.data_dir": data_dir}


@pytest.fixture(scope="module")
def net(trained, place):
    net = alexnet.load(trained)
    net.dataset_features("validation", overrides=place)
    return net


@pytest.fixture
def run(net, trained, tmp_path) -> Path:
    """A folder with the features of the run, which a test may change."""
    shutil.copytree(trained / "features", tmp_path / "run/features")
    return tmp_path / "run"


def moved(net, run: Path, params=None, /, **changes) -> Classifier:
    """The same net, at home in another folder; or one that differs."""
    return Classifier(params or net.params, dataclasses.replace(net.about, source=run, **changes))


@pytest.fixture
def computed(net, place, monkeypatch) -> list[str]:
    """The rows computed since the test began; their features are those that are known already."""
    rows, known = [], np.array(net.dataset_features("validation", overrides=place))

    def noting(splits, split, row):
        rows.append(row)
        yield from (known[:128], known[128:256], known[256:])

    monkeypatch.setattr(features, "_computed", noting)
    return rows


def test_they_are_the_features_of_each_image_in_order(net, place, computed):
    found = net.dataset_features("validation", overrides=place)
    assert computed == []
    assert isinstance(found, np.memmap)
    assert (found.shape, found.dtype) == ((359, 256), np.float32)
    some = [0, 127, 128, 200, 358]  # on both sides of a batch's end, and the last
    images, _ = Splits(net, place).run.store.read("validation", some)
    expected = net.features(images, "relu6")
    assert expected.std() > 0
    np.testing.assert_allclose(found[some], expected, rtol=1e-4, atol=1e-4)


def test_neighbours_are_those_of_cdist(net, place):
    found = net.dataset_features("validation", overrides=place)
    store = Splits(net, place).run.store
    photos, labels = store.read("validation", [5, 77])
    nearest = net.nearest(photos, 4, "validation", overrides=place)
    distances = cdist(found[[5, 77]], found)
    for number, (own, neighbours) in enumerate(zip((5, 77), nearest, strict=True)):
        assert [one.index for one in neighbours] == np.argsort(distances[number])[:4].tolist()
        assert neighbours[0].index == own
        assert neighbours[0].label == store.classes[labels[number]]
        np.testing.assert_array_equal(neighbours[0].image, photos[number])
        for one in neighbours[1:]:
            assert one.distance == pytest.approx(distances[number, one.index], rel=1e-4)
    for count, options in ((6, {}), (1, {"count": 1})):  # Figure 4 shows six
        again = net.nearest(photos, split="validation", overrides=place, **options)
        for number, neighbours in enumerate(again):
            expected = np.argsort(distances[number])[:count].tolist()
            assert [one.index for one in neighbours] == expected


def test_neighbours_in_a_folder_have_files(net, place, monkeypatch):
    photos, _ = Splits(net, place).run.store.read("validation", [5])
    [[one]] = net.nearest(photos, 1, "validation", overrides=place)
    assert (one.index, one.file) == (5, "")  # the digits are no folder
    monkeypatch.setattr(Store, "files", lambda _, split: [f"{split}/{n}" for n in range(359)])
    [[one]] = net.nearest(photos, 1, "validation", overrides=place)
    assert one.file == "validation/5"


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_computation_that_ends_early_leaves_nothing(net, run, place, monkeypatch, capsys, error):
    before, errors = files(run), [error]

    def in_parts(splits, split, row):
        yield np.ones((128, 2), np.float32)
        if errors:
            raise errors.pop()
        yield np.ones((231, 2), np.float32)

    monkeypatch.setattr(features, "_computed", in_parts)
    if isinstance(error, OSError):
        assert moved(net, run).dataset_features("validation", "conv1", place).shape == (359, 2)
        said = f"features are not kept in {run}/features: No space left on device\n"
        assert capsys.readouterr().err == said
    else:
        with pytest.raises(KeyboardInterrupt):
            moved(net, run).dataset_features("validation", "conv1", place)
    assert files(run) == before
    assert not list((run / "features").glob("*conv1*"))


def test_others_wait_while_one_process_computes(net, run, place, monkeypatch):
    free = []

    def looking(splits, split, row):
        with (run / "features/.lock").open("w") as file:
            free.append(lock(file, wait=False))
        yield np.ones((359, 2), np.float32)

    monkeypatch.setattr(features, "_computed", looking)
    moved(net, run).dataset_features("validation", "conv1", place)
    assert free == [False]


def test_remains_of_a_killed_process_are_removed_unread(net, run, place, computed):
    [kept] = (run / "features").glob("*-relu6-validation")
    partial = kept.rename(kept.with_name(kept.name + ".partial"))
    (partial / "about.json").unlink()
    moved(net, run).dataset_features("validation", overrides=place)
    assert computed == ["relu6"]
    assert kept.is_dir()
    assert not partial.exists()


def flip_a_byte(folder: Path) -> None:
    with (folder / "features.npy").open("r+b") as file:
        file.seek(100_003)
        byte = file.read(1)[0]
        file.seek(100_003)
        file.write(bytes([byte ^ 1]))


def cut(folder: Path) -> None:
    data = (folder / "features.npy").read_bytes()
    (folder / "features.npy").write_bytes(data[: len(data) // 2])


def of_other_images(folder: Path) -> None:
    about = json.loads((folder / "about.json").read_text())
    (folder / "about.json").write_text(json.dumps(about | {"images": "0" * 32}))


def without_a_record(folder: Path) -> None:
    (folder / "about.json").unlink()


def empty(folder: Path) -> None:
    (folder / "features.npy").write_bytes(b"")


@pytest.mark.parametrize("harm", [flip_a_byte, cut, of_other_images, without_a_record, empty])
def test_damaged_or_stale_features_are_computed_again(net, run, place, computed, harm):
    before = net.dataset_features("validation", overrides=place)
    [folder] = (run / "features").glob("*-relu6-validation")
    harm(folder)
    for _ in range(2):
        found = moved(net, run).dataset_features("validation", overrides=place)
        np.testing.assert_array_equal(found, before)
        assert computed == ["relu6"]


def test_features_are_read_once_for_their_digest(net, run, place, computed):
    moved(net, run).dataset_features("validation", overrides=place)
    first = features._digest.cache_info()
    for _ in range(2):
        moved(net, run).dataset_features("validation", overrides=place)
    again = features._digest.cache_info()
    assert (again.misses, again.hits) == (first.misses, first.hits + 2)
    [folder] = (run / "features").glob("*-relu6-validation")
    os.utime(folder / "features.npy", ns=(0, 0))  # it may have changed
    moved(net, run).dataset_features("validation", overrides=place)
    assert features._digest.cache_info().misses == first.misses + 1
    assert computed == []


def test_other_weights_another_net_or_mean_image_need_other_features(net, run, place, computed):
    moved(net, run).dataset_features("validation", overrides=place)
    assert computed == []
    bias = {"bias": net.params["fc6"]["bias"] + 1}
    mean = net.about.statistics._replace(mean_HWC=net.about.statistics.mean_HWC + 1)
    rows = [row for row in net.net.rows if row.name != "relu1"]
    for number, changed in enumerate(
        [
            moved(net, run, net.params | {"fc6": net.params["fc6"] | bias}),
            moved(net, run, statistics=mean),
            moved(net, run, net=dataclasses.replace(net.net, rows=tuple(rows))),
            moved(net, run),  # the last ones took the place of its own
        ]
    ):
        changed.dataset_features("validation", overrides=place)
        assert len(computed) == number + 1


def test_features_are_known_by_all_that_they_depend_on(net, place):
    """Else other photos, or another precision, would get the features of before."""
    splits = Splits(net, place)
    store, about = splits.run.store, net.about
    config = about.config.copy_and_resolve_references()
    config.precision = "bfloat16"
    augmentation = dataclasses.replace(about.augmentation, mean="centre")
    bias = {"bias": net.params["fc6"]["bias"] + 1}

    def known(store=store, split="validation", row="relu6", params=net.params, **changes):
        about = dataclasses.replace(net.about, **changes)
        changed = SimpleNamespace(about=about, params=params)
        return features._about(
            SimpleNamespace(net=changed, run=SimpleNamespace(store=store)), split, row
        )

    def stored(**changes):
        return known(dataclasses.replace(store, **changes))

    assert known() == features._about(splits, "validation", "relu6") == known()
    others = [
        known(row="relu7"),
        known(split="train"),
        known(step=about.step + 1),
        known(params=net.params | {"fc6": net.params["fc6"] | bias}),
        known(config=config),
        known(augmentation=augmentation),
        stored(contents=store.contents | {"validation": "0" * 32}),
        stored(counts=store.counts | {"validation": 358}),
        stored(image_size=16),
        stored(quality=store.quality - 1),
    ]
    for number, other in enumerate(others):
        assert other not in (None, known()), number
    assert stored(contents={}) is None  # of an earlier version: unknown
    assert known(step=None) is None


def test_a_full_disk_is_noticed_before_the_second_batch(net, run, place, monkeypatch, capsys):
    """Not after hours; what is computed again then fits in memory once."""
    begun = []

    def in_parts(splits, split, row):
        begun.append(0)
        for start, stop in ((0, 128), (128, 359)):
            begun[-1] += 1
            yield np.arange(start, stop, dtype=np.float32)[:, None]

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(features, "_computed", in_parts)
    monkeypatch.setattr(features.os, "posix_fallocate", full)
    found = moved(net, run).dataset_features("validation", "conv1", place)
    np.testing.assert_array_equal(found[:, 0], np.arange(359))
    assert begun == [1, 2]
    assert "No space left on device" in capsys.readouterr().err


def test_features_of_a_file_of_weights_are_not_kept(net, tmp_path, place, computed, capsys):
    source = tmp_path / "net.safetensors"
    source.touch()
    for _ in range(2):
        moved(net, source, step=None).dataset_features("validation", overrides=place)
    assert computed == ["relu6"] * 2
    assert files(tmp_path) == {"net.safetensors"}
    assert capsys.readouterr().err == ""


def test_features_are_not_kept_where_files_cannot_be_mapped(
    net, run, place, computed, capsys, monkeypatch
):
    def open_memmap(*_, **__):
        raise OSError(19, "No such device")  # as on some network file systems

    monkeypatch.setattr(np.lib.format, "open_memmap", open_memmap)
    found = moved(net, run).dataset_features("validation", overrides=place)
    assert found.shape == (359, 256)
    said = f"features are not kept in {run}/features: what was written there cannot be read back\n"
    assert capsys.readouterr().err == said


def test_features_are_not_kept_where_nothing_can_be_written(net, run, place, computed, capsys):
    shutil.rmtree(run / "features")
    (run / "features").write_text("in its place")
    found = moved(net, run).dataset_features("validation", overrides=place)
    assert found.shape == (359, 256)
    assert f"features are not kept in {run}/features: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda net, at: net.dataset_features("valid", overrides=at), "did you mean 'validation'"),
        (lambda net, at: net.dataset_features("train", "fc9", at), "no layer 'fc9'; did you mean"),
        (lambda net, at: net.nearest([], 0, overrides=at), "count=0: must be at least 1"),
        (lambda net, at: net.evaluate("valid", overrides=at), "did you mean 'validation'"),
        (lambda net, at: net.evaluate("train", "five", at), "views='five': choose one of centre"),
    ],
)
def test_mistakes_are_one_line(net, place, use, message):
    with pytest.raises(UserError, match=message):
        use(net, place)


def test_weights_for_other_classes_than_the_datasets_name_what_does_not_fit(net, trained, place):
    wider = {name: np.repeat(leaf, 2, -1) for name, leaf in net.params["fc8"].items()}
    with pytest.raises(UserError, match=r"^fc8.bias is .2, 10. in .* and .2, 5. in net pocket"):
        Splits(moved(net, trained, net.params | {"fc8": wider}), place)


def test_a_run_of_many_devices_is_opened_on_those_here(net, trained, place):
    config = net.config.copy_and_resolve_references()
    config.update({"batch_size": 15, "mesh": {"data": 5, "tower": 2}, "accumulate": 3})
    opened = Splits(moved(net, trained, config=config), place).run
    assert opened.mesh.size == jax.device_count()
    assert opened.config.mesh.to_dict() == {"data": 0, "tower": 0}  # as many as there are
    assert (opened.config.accumulate, opened.config.batch_size) == (1, 5)  # a third of a batch
    config.update({"batch_size": 1 << 16, "accumulate": 4})  # more than would fit here
    assert Splits(moved(net, trained, config=config), place).run.config.batch_size == 1024


@pytest.mark.parametrize(
    ("name", "options", "row"),
    [
        ("alexnet", {}, "relu7"),
        ("pocket", {"remove": "fc7"}, "relu6"),
        ("pocket", {"activation": "tanh"}, "tanh7"),
        ("cifar_19pct", {}, "pool3"),
        ("cifar_80sec", {}, "relu4"),
    ],
)
def test_the_last_hidden_layer(name, options, row):
    assert hidden_row(build(name, classes=10, **options)) == row


def test_no_photos_have_no_neighbours(net, place):
    assert net.nearest([], overrides=place) == []


def test_a_net_of_one_layer_has_no_hidden_layer():
    with pytest.raises(UserError, match="net one has no layer before the last one"):
        hidden_row(Net("one", 4, 2, 1, (Dropout("drop"), Dense("fc1", 2))))


def test_features_of_deleted_checkpoints_do_not_stay(net, run, place, computed):
    [own] = [path.name for path in (run / "features").glob("*-relu6-validation")]
    step = own.partition("-")[0]
    for one in (run / "features").glob("*-train"):
        shutil.rmtree(one)
    for name in ("7-relu6-validation", "8-relu6-train", "9-conv1-validation", "6-conv2-train"):
        shutil.copytree(run / "features" / own, run / "features" / name)
        if name[0] != "6":  # which another process may read
            os.utime(run / "features" / name / "about.json", (0, 0))
    (run / "features/mine").mkdir()
    about = {"bias": net.params["fc6"]["bias"] + 1}
    other = moved(net, run, net.params | {"fc6": net.params["fc6"] | about})
    other.dataset_features("validation", overrides=place)  # no checkpoints are known: all stay
    assert len(list((run / "features").glob("*-*"))) == 5
    (run / "checkpoints/8").mkdir(parents=True)
    assert step != "8"  # its checkpoint is gone, too
    os.utime(run / "features" / own / "about.json", (0, 0))
    for _ in range(2):
        moved(net, run).dataset_features("validation", overrides=place)
    assert len(computed) == 2
    left = {path.name for path in (run / "features").iterdir()}
    assert left == {own, "8-relu6-train", "6-conv2-train", "mine", ".lock"}
