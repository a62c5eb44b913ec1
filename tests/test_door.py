"""`import alexnet`: a few names, loaded when they are used."""

import pkgutil
import subprocess
import sys

import pytest
from support.tiny import ROOT

import alexnet
from alexnet.errors import UserError
from alexnet.training.programs import Programs

pytestmark = pytest.mark.usefixtures("compile_quickly")


@pytest.mark.parametrize("name", alexnet.__all__)
def test_every_name_is_there_and_documented(name):
    assert getattr(alexnet, name).__doc__
    assert name in dir(alexnet)


def test_no_name_is_that_of_a_module():
    modules = {module.name for module in pkgutil.iter_modules(alexnet.__path__)}
    assert not modules & set(alexnet.__all__)


def test_importing_loads_nothing():
    code = "import sys, alexnet; assert not {'jax', 'numpy', 'flax'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'alexnet' has no attribute 'lod'"):
        _ = alexnet.lod


def test_from_a_table_to_logits():
    import jax
    import numpy as np

    table = alexnet.build("pocket", classes=10, remove="conv4")
    params = jax.jit(lambda key: alexnet.init(table, key))(jax.random.key(0))
    images = np.zeros((2, table.image_size, table.image_size, 3), np.float32)
    logits, activations = alexnet.apply(table, params, images)
    assert logits.shape == (2, 10)
    assert "conv4" not in activations
    assert "pocket" in alexnet.list_nets()


@pytest.mark.parametrize("shape", [(2, 32, 32, 3), (2, 28, 29, 3), (2, 28, 28, 1), (28, 28, 3)])
def test_a_net_refuses_images_of_another_size(shape):
    """For some sizes every layer fits, but on a shifted grid."""
    import jax
    import numpy as np

    table = alexnet.build("pocket", classes=10)
    params = jax.jit(lambda key: alexnet.init(table, key))(jax.random.key(0))
    with pytest.raises(UserError, match=r"x_BHWC=.*: net pocket alexnet reads \[B, 28, 28, 3\]"):
        alexnet.apply(table, params, np.zeros(shape, np.float32))


def test_a_config_may_be_named_by_a_path(tmp_path):
    from pathlib import Path

    file = Path(ROOT, "configs/digits.py")
    assert alexnet.load_config(file).to_dict() == alexnet.load_config(str(file)).to_dict()
    with pytest.raises(UserError, match="net pocket alexnet sees 99 pixels, more than the stored"):
        alexnet.setup(alexnet.load_config(file, {"net.image_size": 99}))
    with pytest.raises(UserError, match=r"nowhere\.py"):
        alexnet.setup(Path("nowhere.py"))
    with pytest.raises(UserError, match="file: expected a config's file, not dict"):
        alexnet.setup({"epochs": 2})
    with pytest.raises(UserError, match="overrides='epochs=2': expected a dict such as"):
        alexnet.load_config(file, "epochs=2")
    Path(tmp_path, "run.json").write_text("{}")
    with pytest.raises(UserError, match=r"run.json is no config file; if it is a run's record, "):
        alexnet.load_config(tmp_path / "run.json")


@pytest.mark.slow
def test_a_run_in_a_loop_of_ones_own(tiny, tmp_path):
    import jax
    import numpy as np

    tiny.net.dropout = 0.0
    shared = Programs()
    run = alexnet.setup(tiny, programs=shared)
    logits_of = jax.jit(lambda params, x_BHWC: alexnet.apply(run.net, params, x_BHWC)[0])
    state = run.fresh()
    for step, batch in run.batches():
        x_BHWC = run.inputs(step, batch)
        logp_BK = np.asarray(jax.nn.log_softmax(logits_of(state.params, x_BHWC)))
        loss = -logp_BK[np.arange(256), batch["label"]].sum()
        state, sums = run.train_step(state, batch, run.hyperparameters(step))
        if step <= 2:
            assert float(sums.loss) == pytest.approx(loss, rel=1e-5)
        if step == 6:
            break
    assert x_BHWC.shape == (256, 18, 18, 3)
    assert not np.array_equal(x_BHWC, run.inputs(1, batch))  # each step draws its own views
    assert int(state.step) == 6
    first = run.evaluate(state.params)
    mine = alexnet.classifier(run, state.params)
    row = mine.evaluate("validation")
    assert (row["top1_error"], row["loss"]) == (first.top1_error, pytest.approx(first.loss))
    assert (mine.history, row["notes"]) == ([], [])
    mine.export(tmp_path / "mine.safetensors")
    again = alexnet.load(tmp_path / "mine.safetensors")
    assert again.classes == mine.classes == run.store.classes
    images, _ = run.store.read("validation", range(3))
    np.testing.assert_array_equal(again.logits(images), mine.logits(images))
    with pytest.raises(UserError, match=r"^conv1.bias is missing in params"):
        alexnet.classifier(run, {"fc8": state.params["fc8"]})
    with pytest.raises(UserError, match=r"^split='tests': choose one of train, validation$"):
        run.evaluate(state.params, "tests")
    tiny.epochs = 1.0
    [row] = alexnet.train_and_evaluate(tiny, tmp_path / "run", shared)  # the same six steps
    assert row["loss"] == first.loss
    assert row == {"step": 6, "epoch": row["epoch"]} | first.row()
    assert alexnet.read_log(tmp_path / "run")[-1]["validation/loss"] == first.loss
