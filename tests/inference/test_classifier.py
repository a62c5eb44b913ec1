"""alexnet.load: photos in, classes, probabilities and features out, without the dataset."""

import csv
import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax
from support.tiny import ROOT, plant, tiny_config

import alexnet
from alexnet import config as configs
from alexnet import predict
from alexnet.data.augment import Augmentation
from alexnet.data.images import square_pixels
from alexnet.data.recipe import Recipe
from alexnet.errors import UserError
from alexnet.inference import classifier
from alexnet.inference.classifier import Classifier
from alexnet.models import network, table
from alexnet.models.build import build
from alexnet.training import run as runs
from alexnet.workdir import checkpoint

pytestmark = pytest.mark.usefixtures("compile_quickly")

TRAINED = ROOT / "experiments/trained/digits"


@pytest.fixture(scope="module")
def net():
    return alexnet.load(TRAINED)


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> tuple[list[Path], np.ndarray]:
    """Twelve of scikit-learn's digits as files, and their labels."""
    from sklearn.datasets import load_digits

    data, folder = load_digits(), tmp_path_factory.mktemp("digits")
    paths = []
    for number in range(12):
        paths.append(folder / f"{number}.png")
        pixels = (data.images[number] * 255 / 16).round().astype(np.uint8)
        Image.fromarray(pixels).save(paths[-1])
    return paths, data.target[:12]


def test_digits_are_recognised(net, digits):
    paths, labels = digits
    best = net.top(paths, 3)
    right = [classes[0][0] == str(label) for classes, label in zip(best, labels, strict=True)]
    assert sum(right) >= 11  # the sixth looks like a nine
    for classes in best:
        probabilities = [probability for _, probability in classes]
        assert len(classes) == 3
        assert probabilities == sorted(probabilities, reverse=True)


def test_probabilities_are_those_of_apply_on_the_centred_crop(net, digits):
    """By hand: decode, subtract the mean image, crop, apply, softmax in float64."""
    paths, _ = digits
    side, size = net.net.image_size, net.config.data.image_size
    squares = np.stack([square_pixels(path.read_bytes(), size) for path in paths])
    with np.load(TRAINED / "dataset/statistics.npz") as statistics:
        centred = squares - statistics["mean_HWC"]
    start = (size - side) // 2
    x = np.float32(centred[:, start : start + side, start : start + side])
    logits, seen = network.apply(net.net, net.params, x)
    expected = softmax(np.asarray(logits, float), axis=1)
    np.testing.assert_allclose(net.predict(paths), expected, rtol=1e-3, atol=1e-6)
    found = net.features(paths, ["fc7", "conv1", "drop7", "fc8"])
    np.testing.assert_allclose(found["fc7"], seen["fc7"], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found["drop7"], seen["drop7"], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found["fc8"], logits, rtol=1e-3, atol=1e-4)
    assert found["conv1"].shape == (12, 28, 28, 32)
    np.testing.assert_array_equal(net.features(paths, "fc7"), found["fc7"])
    np.testing.assert_allclose(net.logits(squares), logits, rtol=1e-3, atol=1e-4)
    activations = net.activations(squares)
    assert set(activations) == {row.name for row in net.net.rows}
    for name, values in found.items():
        np.testing.assert_allclose(activations[name], values, rtol=1e-3, atol=1e-4)


def test_files_images_and_arrays_alone_or_together(net, digits):
    paths, _ = digits
    array = np.asarray(Image.open(paths[0]))
    colours = np.repeat(array[..., None], 3, -1)
    several = [paths[0], str(paths[0]), Image.open(paths[0]), array, colours]
    together = net.predict(several)
    np.testing.assert_allclose(together, np.repeat(together[:1], 5, 0), rtol=1e-4, atol=1e-6)
    for alone in several:
        np.testing.assert_allclose(net.predict(alone), together[:1], rtol=1e-4, atol=1e-6)
    batch = np.stack([colours] * 70)  # more than go through the net at once
    np.testing.assert_allclose(net.predict(batch), np.repeat(together[:1], 70, 0), atol=1e-6)
    assert net.predict([]).shape == (0, 10)
    wide = Image.open(paths[0]).resize((90, 30))
    assert net.predict(wide).shape == (1, 10)


def test_a_photo_is_left_as_it_is_and_none_gives_nothing(net, tmp_path):
    Image.fromarray(np.zeros((300, 400, 3), np.uint8)).save(tmp_path / "large.jpg")
    photo = Image.open(tmp_path / "large.jpg")
    before = net.predict(photo)
    np.testing.assert_array_equal(net.predict(photo), before)
    assert net.features([], "fc7").shape == (0, 256)


def test_ten_crops_are_averaged(net, digits, capsys):
    paths, _ = digits
    ten = net.predict(paths, views="ten_crop")
    np.testing.assert_allclose(ten.sum(1), 1, rtol=1e-5)
    size = net.config.data.image_size
    squares = np.stack([square_pixels(path.read_bytes(), size) for path in paths])
    f = jax.jit(lambda view: net.logits(squares, "ten_crop", view))
    logits = [np.asarray(f(view), float) for view in range(10)]
    expected = softmax(np.stack(logits), axis=2).mean(0)
    np.testing.assert_allclose(ten, expected, rtol=1e-3, atol=1e-6)
    assert [best[0][1] for best in net.top(paths, 1, "ten_crop")] == ten.max(1).tolist()
    predict.main([f"--workdir={TRAINED}", "--views=ten_crop", "--json", str(paths[0])])
    [[(_, found), *_]] = json.loads(capsys.readouterr().out).values()
    assert found == pytest.approx(ten[0].max(), rel=1e-4)


@pytest.mark.parametrize("views", ["centre", "ten_crop", "nine_crop"])
def test_an_evaluation_has_the_errors_of_its_views(net, data_dir, views):
    """`evaluate` and `predict` reach the net by different ways."""
    here = {"data.data_dir": data_dir}
    images, labels = net.splits(here).run.store.read("validation", range(359))
    p_NK = net.predict(images, views)
    found = net.evaluate(views=views, overrides=here)
    loss = -np.log(p_NK[np.arange(359), labels]).mean()
    assert found["loss"] == pytest.approx(loss, rel=1e-3)
    assert found["top1_error"] == pytest.approx((p_NK.argmax(1) != labels).mean(), abs=1.5 / 359)


def test_an_evaluation_notes_that_its_images_chose_the_checkpoint(net, data_dir):
    here = {"data.data_dir": data_dir}
    [note] = net.evaluate(overrides=here)["notes"]
    lowest = min(net.history, key=lambda row: row["top1_error"])
    assert lowest["step"] != net.history[-1]["step"]
    assert note.startswith(f"step {lowest['step']} was chosen by its error on these very images")
    assert net.evaluate("train", overrides=here)["notes"] == []


def test_a_second_evaluation_compiles_nothing(net, data_dir, monkeypatch):
    here = {"data.data_dir": data_dir}
    first = net.evaluate(overrides=here)
    monkeypatch.setattr(runs, "make_eval_step", lambda *_: pytest.fail("compiled anew"))
    assert net.evaluate(overrides=here) == first


@pytest.mark.parametrize(("name", "jaxs"), [("float32", "float32"), ("tf32", "tensorfloat32")])
def test_programs_have_the_precision_of_the_run(net, name, jaxs):
    """Else a GPU would predict with TF32 what it has evaluated without."""
    config = net.config.copy_and_resolve_references()
    config.precision = name
    other = Classifier(net.params, dataclasses.replace(net.about, config=config))
    found = other.rows_program(["fc7"])  # traced below
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        apply = network.apply

        def noted(*args, **how):
            seen.append(jax.config.jax_default_matmul_precision)
            return apply(*args, **how)

        patch.setattr(network, "apply", noted)
        found(other.params, np.zeros((1, 32, 32, 3), np.uint8))
    assert seen == [jaxs]


@pytest.mark.slow
def test_it_is_a_pytree_that_goes_through_jit_and_grad(net):
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    images = images[:, : net.about.image_size, : net.about.image_size]

    @jax.jit
    def loss(net):
        return -jax.nn.log_softmax(net.logits(images))[:, 3].mean()

    value, gradient = jax.value_and_grad(loss)(net)
    assert isinstance(gradient, type(net))
    assert jax.tree.structure(gradient) == jax.tree.structure(net)
    better = jax.tree.map(lambda w, g: w - 1e-3 * jnp.asarray(g), net, gradient)
    assert loss(better) < value
    _, slope = jax.jvp(loss, (net,), (gradient,))
    np.testing.assert_allclose(
        slope, sum(map(np.vdot, *map(jax.tree.leaves, [gradient] * 2))), 1e-4
    )
    mean = jax.tree.map(lambda a, b: (a + b) / 2, net, alexnet.load(TRAINED, "last"))
    assert np.isfinite(mean.predict(images)).all()


def test_nets_that_compute_the_same_are_combined_weight_by_weight(net):
    again = alexnet.load(TRAINED)
    doubled = jax.tree.map(lambda leaf: 2 * np.asarray(leaf), again)
    mean = jax.tree.map(lambda a, b: (np.asarray(a) + b) / 2, net, doubled)
    assert isinstance(mean, Classifier)
    assert mean.classes == net.classes
    kernel = np.asarray(net.params["fc8"]["kernel"])
    np.testing.assert_array_equal(mean.params["fc8"]["kernel"], 1.5 * kernel)
    brighter = net.about.statistics._replace(mean_HWC=net.about.statistics.mean_HWC + 1)
    for statistics in (None, brighter):
        other = Classifier(net.params, dataclasses.replace(net.about, statistics=statistics))
        for pair in ((net, other), (other, net)):
            with pytest.raises(ValueError, match="different pytree metadata"):
                jax.tree.map(lambda a, b: a, *pair)


def test_a_run_and_its_export_are_the_same_function(net, tmp_path):
    """So their weights are combined, and what describes them may be static in jit."""
    net.export(tmp_path / "net.safetensors")
    again = alexnet.load(tmp_path / "net.safetensors")
    mean = jax.tree.map(lambda a, b: (np.asarray(a) + b) / 2, net, again)
    np.testing.assert_array_equal(mean.params["fc8"]["bias"], net.params["fc8"]["bias"])
    assert hash(net.about) == hash(again.about)
    fresh = alexnet.load_config(ROOT / "configs/digits.py").augment.to_dict()
    assert net.about.augmentation == Augmentation(**fresh, crop=net.net.image_size)
    assert again.history == []  # a file has no log
    assert len(net.history) > 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_weights_are_exported_as_float32(net, tmp_path, dtype):
    half = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), net)
    half.export(tmp_path / "half.safetensors")
    again = alexnet.load(tmp_path / "half.safetensors").params
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(a, np.asarray(b, np.float32)), again, half.params
    )


def test_filters_history_and_the_table(net):
    filters = net.filters("conv1")
    kernel = net.params["conv1"]["kernel"]  # [towers, height, width, maps, kernels]
    assert filters.shape == (32, 5, 5, 3)
    np.testing.assert_array_equal(filters[16 + 3], kernel[1, ..., 3])
    bgr = dataclasses.replace(net.net, pixels=table.Pixels(order="BGR"))
    caffes = Classifier(net.params, dataclasses.replace(net.about, net=bgr))
    np.testing.assert_array_equal(caffes.filters("conv1"), filters[..., ::-1])
    np.testing.assert_array_equal(caffes.filters("conv2"), net.filters("conv2"))
    assert net.history[-1]["count"] == 359
    assert set(net.history[0]) == {"step", "epoch", "loss", "top1_error", "top5_error", "count"}
    assert "368,842" in repr(net)
    assert "<td" in net._repr_html_()
    assert "368,842" in net._repr_html_()
    about = dataclasses.replace(net.about, step=7, epoch=2.5)
    for step, title in ((7, f"{TRAINED}, step 7 (epoch 2.50)"), (None, str(TRAINED))):
        named = Classifier(net.params, dataclasses.replace(about, step=step))
        assert repr(named).splitlines()[0] == title
        assert title in named._repr_html_()


def test_it_evaluates_as_training_did(net, data_dir):
    found = net.evaluate(overrides={"data.data_dir": data_dir})
    best = min(row["top1_error"] for row in net.history)
    assert (found["top1_error"], found["count"]) == (best, 359)


@pytest.mark.parametrize("suffix", ["safetensors", "stablehlo"])
def test_what_it_exports_knows_the_classes(net, digits, tmp_path, suffix):
    path = tmp_path / f"net.{suffix}"
    net.export(path)
    paths, labels = digits
    if suffix == "safetensors":
        again = alexnet.load(path)
        assert again.classes == net.classes
        assert (again.about.step, again.about.epoch) == (None, 0)  # a file says neither
        np.testing.assert_array_equal(again.predict(paths), net.predict(paths))
        return
    program = jax.export.deserialize(bytearray(path.read_bytes()))
    assert tuple(json.loads(program.fun_name)) == net.classes
    size, side = net.config.data.image_size, net.net.image_size
    start = (size - side) // 2
    squares = np.stack([square_pixels(path.read_bytes(), size) for path in paths])
    logits = program.call(squares[:, start : start + side, start : start + side])
    assert (np.argmax(logits, 1) == labels).sum() >= 11
    np.testing.assert_allclose(softmax(logits, 1), net.predict(paths), rtol=1e-3, atol=1e-6)
    with pytest.raises(UserError, match="exists"):
        net.export(path)


def test_the_last_checkpoint_or_a_step_is_loaded(net):
    steps = sorted(int(path.name) for path in (TRAINED / "checkpoints").iterdir())
    assert alexnet.load(TRAINED, "last").about.step == steps[-1]
    assert alexnet.load(TRAINED, steps[0]).about.step == steps[0]
    params, _ = checkpoint.load_params(TRAINED)
    jax.tree.map(np.testing.assert_array_equal, net.params, params)


def test_a_workdir_without_a_mean_image_asks_for_the_dataset(tmp_path):
    workdir = shutil.copytree(TRAINED, tmp_path / "old")
    shutil.rmtree(workdir / "dataset")
    config = json.loads((workdir / "config.json").read_text())
    config["data"]["data_dir"] = str(tmp_path / "nothing")
    (workdir / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"keeps no mean image, and dataset 'digits' is not prep"):
        alexnet.load(workdir)


def test_a_file_needs_no_dataset_and_keeps_its_own_mean_image(net, tmp_path, data_dir):
    """Even if the dataset's folder is damaged, and wherever the net is evaluated."""
    brighter = net.about.statistics._replace(mean_HWC=net.about.statistics.mean_HWC + 60)
    config = net.config.copy_and_resolve_references()
    config.data.data_dir = str(tmp_path)
    store = Recipe(**config.data.to_dict()).path
    store.mkdir(parents=True)
    for name in ("info.json", "statistics.npz"):
        (store / name).write_text("damaged")
    about = dataclasses.replace(net.about, statistics=brighter, config=config)
    path = tmp_path / "net.safetensors"
    Classifier(net.params, about).export(path)
    loaded = alexnet.load(path)
    np.testing.assert_array_equal(loaded.about.statistics.mean_HWC, brighter.mean_HWC)
    elsewhere = {"data.data_dir": data_dir}
    losses = [one.evaluate(overrides=elsewhere)["loss"] for one in (loaded, net)]
    assert losses[0] > 1.5 * losses[1]
    with pytest.raises(UserError, match=r"statistics.npz beside it is damaged"):
        loaded.evaluate()
    assert alexnet.load(path, overrides=elsewhere).config.data.data_dir == data_dir
    for arguments, message in (
        ({"checkpoint": "last"}, "checkpoint='last': .*net.safetensors holds a single net"),
        ({"overrides": {"net.nrom": False}}, "net.nrom: .*did you mean 'net.norm'"),
        ({"overrides": {"net.activation": "tanh"}}, "exported with config.net.activation='relu'"),
    ):
        with pytest.raises(UserError, match=message):
            alexnet.load(path, **arguments)


def test_a_runs_settings_may_be_given_anew(tmp_path):
    elsewhere = {"data.data_dir": str(tmp_path)}
    assert alexnet.load(TRAINED, overrides=elsewhere).about.config.data.data_dir == str(tmp_path)
    with pytest.raises(UserError, match=r"data.data_dri.*did you mean"):
        alexnet.load(TRAINED, overrides={"data.data_dri": "/"})


def test_the_classes_of_weights_that_name_none_are_counted(tmp_path):
    config = tiny_config(str(tmp_path))
    config.augment.update({"mean": "pixel", "mean_pixel": (1.0, 2.0, 3.0)})
    own = configs.call(build, "net", config.net, classes=6)
    shapes = jax.eval_shape(lambda: network.init(own, jax.random.key(0)))
    plant(tmp_path, config, jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes))
    found = alexnet.load(tmp_path)
    assert found.net.classes == 6
    assert found.classes == tuple("012345")


def test_a_checkpoint_of_another_net_names_what_does_not_fit(tmp_path):
    workdir = shutil.copytree(TRAINED, tmp_path / "run")
    config = json.loads((workdir / "config.json").read_text())
    config["net"]["towers"] = 1
    (workdir / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"^conv1.bias is .2, 16. in .*/run and .1, 32. in net"):
        alexnet.load(workdir)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda net: net.predict("nowhere.jpg"), "nowhere.jpg: no such file"),
        (lambda net: net.predict(np.zeros((4, 4, 3))), r"uint8 pixels .* float64 \[4, 4, 3\]"),
        (lambda net: net.predict(np.zeros((4, 4, 4), np.uint8)), r"uint8 \[4, 4, 4\]"),
        (lambda net: net.predict("x", views="five"), "views='five': choose one of centre"),
        (lambda net: net.features("x", "fc9"), "no layer 'fc9'; did you mean 'fc"),
        (lambda net: net.logits(np.zeros((2, 28, 28, 3))), r"expected \(images, 32, 32, 3\)"),
        (lambda net: net.logits(np.zeros((1, 32, 32, 3)), "tencrop"), "choose one of centre"),
        (lambda net: net.logits(np.zeros((1, 32, 32, 3)), view=1), "view=1: centre has 1, from 0"),
        (
            lambda net: net.logits(np.zeros((1, 32, 32, 3)), "ten_crop", 10),
            "view=10: ten_crop has 10, from 0",
        ),
        (lambda net: net.activations(np.zeros((32, 32, 3))), r"shape=\(32, 32, 3\): expected"),
        (lambda net: net.filters("fc6"), "fc6 of net pocket alexnet is not a convolution"),
        (lambda net: net.filters("conv9"), "no kernels 'conv9'; did you mean 'conv"),
        (lambda net: alexnet.load("/nowhere"), "/nowhere: no such workdir or file"),
        (lambda net: alexnet.load(TRAINED, 7), "there is no step 7"),
        (lambda net: alexnet.load(__file__), ".py: its suffix must be .caffemodel, .safet"),
        (lambda net: net.top("x", 0), "count=0: must be at least 1"),
        (lambda net: alexnet.load(TRAINED, config="configs/digits.py"), "config: a run has its"),
        (lambda net: alexnet.load(TRAINED, overrides={"data.image_size": 40}), "32 pixels wide"),
        (lambda net: net.export("/nowhere/net.onnx"), "end it in .safetensors or .stablehlo"),
        (lambda net: net.export("/nowhere/a.safetensors", "his"), "choose one of own, torchvision"),
    ],
)
def test_mistakes_are_one_line(net, use, message):
    with pytest.raises(UserError, match=message):
        use(net)


def test_predict_shows_what_is_done_before_it_goes_on(digits, capsys, monkeypatch):
    paths = [str(path) for path in digits[0]]
    monkeypatch.setattr(classifier, "BATCH", 5)
    top, seen = Classifier.top, []

    def noting(*args):
        seen.append(capsys.readouterr().out)
        return top(*args)

    monkeypatch.setattr(Classifier, "top", noting)
    predict.main([f"--workdir={TRAINED}", "--top=1", *paths])
    shown = [*seen[1:], capsys.readouterr().out]
    assert [[line for line in one.splitlines() if line[0] != " "] for one in shown] == [
        *(paths[:5], paths[5:10], paths[10:])
    ]


@pytest.mark.parametrize(
    ("dataset", "classes", "names"),
    [
        ("imagenet2012", 1000, ("n01440764", "n02123045", "n15075141")),
        ("imagenet2012", 10, ("0", "5", "9")),
        ("cifar10", 1000, ("0", "281", "999")),
    ],
)
def test_imported_nets_of_imagenet_know_its_classes(net, dataset, classes, names):
    """281 is a tabby in torchvision and in Caffe."""
    config = net.config.copy_and_resolve_references()
    with config.unlocked():
        config.data.name = dataset
    wider = dataclasses.replace(net.net, classes=classes)
    about = dataclasses.replace(net.about, config=config, net=wider, classes=())
    found = Classifier(net.params, about).classes
    assert len(found) == classes
    assert (found[0], found[classes // 2 if classes == 10 else 281], found[-1]) == names
    assert Classifier(net.params, dataclasses.replace(about, classes=("a",))).classes == ("a",)


def test_predict_has_words_for_imagenets_classes(tmp_path, capsys, monkeypatch):
    class Net:
        about = SimpleNamespace(image_size=8)

        def top(self, photos, count, views):
            return [[("n03394916", 0.9312), ("cat", 0.05)] for _ in photos]

    monkeypatch.setattr("alexnet.inference.loading.load", lambda *_: Net())
    Image.new("RGB", (8, 8)).save(photo := tmp_path / "photo.png")
    predict.main([f"--workdir={tmp_path}", str(photo)])
    assert (
        capsys.readouterr().out == f"{photo}\n   93.12%  French horn (n03394916)\n    5.00%  cat\n"
    )
    predict.main([f"--workdir={tmp_path}", str(photo), "--json"])
    assert json.loads(capsys.readouterr().out)[str(photo)][0] == ["n03394916", 0.9312]


def test_predict_prints_classes_or_json(digits, capsys):
    paths, labels = digits
    predict.main([f"--workdir={TRAINED}", *map(str, paths[:2]), "--top=2"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(paths[0])
    assert lines[1].split()[1] == str(labels[0])
    assert len(lines) == 6
    predict.main([f"--workdir={TRAINED}", str(paths[1]), "--json"])
    [(path, best)] = json.loads(capsys.readouterr().out).items()
    assert path == str(paths[1])
    assert best[0][0] == str(labels[1])
    bad = [str(paths[0].with_name(name)) for name in ("none.png", "empty.png")]
    Path(bad[1]).touch()
    with pytest.raises(UserError, match=r"empty.png is not an image that can be read"):
        predict.main([f"--workdir={TRAINED}", bad[0], str(paths[1]), bad[1], "--json"])
    out, error = capsys.readouterr()
    assert list(json.loads(out)) == [str(paths[1])]
    assert error == f"error: {bad[0]}: no such file\n"
    with pytest.raises(UserError, match="which photos"):
        predict.main([f"--workdir={TRAINED}"])


def test_predict_takes_folders_and_writes_a_table(digits, tmp_path, capsys):
    """Every image below the folder, and no other file; with the classes that `top` gives."""
    (tmp_path / "photos/more").mkdir(parents=True)
    names = ["more/a,b.png", "z.PNG"]
    for name, path in zip(names, digits[0], strict=False):
        shutil.copy(path, tmp_path / "photos" / name)
    for name in ("notes.txt", ".hidden.png", "a.HEIC"):
        (tmp_path / "photos" / name).write_bytes(b"no image")
    (tmp_path / "photos/broken.jpg").write_bytes(b"no image either")
    single, table = str(digits[0][2]), tmp_path / "found.csv"
    given = [f"--workdir={TRAINED}", str(tmp_path / "photos"), single, "--top=2"]
    with pytest.raises(UserError, match=r"broken.jpg is not an image that can be read"):
        predict.main([*given, f"--predictions={table}"])
    out, error = capsys.readouterr()
    left, said = error.splitlines()
    assert left.startswith(f"{tmp_path / 'photos'}: 1 photo not read (found: 1 .heic; export")
    assert (out, said) == ("", f"3 predictions in {table}; 1 photo could not be read")
    paths = [*(str(tmp_path / "photos" / name) for name in names), single]
    with table.open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["file", "top1", "top1_p", "top2", "top2_p"]
    for row, path, best in zip(rows, paths, alexnet.load(TRAINED).top(paths, 2), strict=True):
        assert row == [path, *(str(x) for k, p in best for x in (k, f"{p:.6f}"))]
    (tmp_path / "photos/empty").mkdir()
    with pytest.raises(UserError, match="empty holds no images; found: no files"):
        predict.main([f"--workdir={TRAINED}", str(tmp_path / "photos/empty")])


def test_a_prediction_loads_neither_tensorflow_nor_datasets_nor_warns(digits):
    code = (
        "import sys, alexnet; net = alexnet.load(sys.argv[1]); net.top(sys.argv[2:]); "
        "heavy = ('tensorflow', 'tensorflow_datasets', 'grain', 'sklearn'); "
        "assert not [m for m in heavy if m in sys.modules]"
    )
    paths, _ = digits
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(TRAINED), str(paths[0])],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
