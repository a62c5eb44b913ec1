"""alexnet.workdir.checkpoint: nothing is lost, nothing damaged is believed."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alexnet.errors import UserError
from alexnet.workdir import checkpoint, record, snapshot
from alexnet.workdir.checkpoint import Checkpoints
from alexnet.workdir.record import Progress

# What Orbax abandons when a read fails is reported when it is collected.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Trace(NamedTuple):
    trace: dict


@jax.tree_util.register_dataclass
@dataclass
class TrainState:
    step: jax.Array
    params: dict
    opt_state: Any


def make_state(step: int, width: int = 64) -> TrainState:
    """A state that differs from step to step, in every leaf."""
    kernel, bias, opt_state = jax.random.split(jax.random.key(step), 3)
    params = {
        "conv1": {"kernel": jax.random.normal(kernel, (2, width, 8))},
        "fc8": {"bias": jax.random.normal(bias, (2, 5))},
    }
    trace = {
        "conv1": {"kernel": jax.random.normal(opt_state, (2, width, 8))},
        "fc8": {"bias": jnp.zeros((2, 5))},
    }
    return TrainState(jnp.int32(step), params, (Trace(trace), ()))


def like(state: Any) -> Any:
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )


def save(directory: Path, errors: dict[int, float | tuple[float, float] | None]) -> None:
    """Checkpoints with these errors, or errors and losses."""
    with Checkpoints(directory) as checkpoints:
        for step, found in errors.items():
            found = found if isinstance(found, tuple) else (found,)
            checkpoints.save(step, make_state(step), Progress(epoch=step), *found)


def steps(directory: Path) -> list[int]:
    return sorted(int(path.name) for path in directory.iterdir())


def assert_same(a: Any, b: Any) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y), strict=True)


def largest_file(directory: Path) -> Path:
    return max((p for p in directory.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def flip_bit(directory: Path, where: float = 0.5) -> None:
    path = largest_file(directory)
    data = bytearray(path.read_bytes())
    data[int(len(data) * where)] ^= 1
    path.write_bytes(data)


def flip_bit_of(leaf: jax.Array, directory: Path) -> None:
    """In the file that holds it: how leaves are spread over files varies."""
    own = np.asarray(leaf).tobytes()
    [path] = [file for file in directory.rglob("*") if file.is_file() and own in file.read_bytes()]
    data = bytearray(path.read_bytes())
    data[data.index(own) + len(own) // 2] ^= 1
    path.write_bytes(data)


def truncate(directory: Path) -> None:
    path = largest_file(directory)
    os.truncate(path, path.stat().st_size // 2)


def test_restore_is_bitwise(tmp_path):
    state = make_state(7)
    state.params["fc8"]["bias"] = jnp.array([[jnp.nan, -0.0, jnp.inf, 1e-45, 3]] * 2)
    progress = Progress(3.5, (0.5, 1 / 3), ("cats", "dogs"), (2, 0.1 + 0.2, 1 / 3, 5e-324))
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(7, state, progress, None)
    with Checkpoints(tmp_path) as checkpoints:
        restored, step, restored_progress = checkpoints.restore(like(state))
    assert_same(restored, state)
    assert np.signbit(restored.params["fc8"]["bias"][0, 1])
    assert (step, restored_progress) == (7, progress)


def test_nothing_to_restore(tmp_path):
    with Checkpoints(tmp_path / "new") as checkpoints:
        assert checkpoints.restore(like(make_state(0))) is None


def test_training_may_reuse_the_buffers_at_once(tmp_path):
    @partial(jax.jit, donate_argnums=0)
    def train_step(state):
        return jax.tree.map(lambda x: x + 1, state)

    state = make_state(1, width=100_000)
    expected = jax.tree.map(np.array, state)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, Progress(), None)
        for _ in range(20):
            state = train_step(state)
        restored, _, _ = checkpoints.restore(like(state))
    assert_same(restored, expected)


@pytest.mark.parametrize(
    ("errors", "kept"),
    [
        ({1: 0.9, 2: 0.8, 3: 0.7}, [2, 3]),
        ({1: 0.7, 2: 0.8, 3: 0.9, 4: 0.8}, [1, 3, 4]),
        ({1: 0.9, 2: 0.7, 3: 0.8, 4: 0.75}, [2, 3, 4]),
        ({1: 0.9, 2: 0.7, 3: 0.7}, [2, 3]),
        ({1: None, 2: None, 3: None}, [2, 3]),
        ({1: 0.5, 2: None, 3: None, 4: None}, [1, 3, 4]),
        ({1: None, 2: 0.5, 3: None, 4: 0.4}, [3, 4]),
        ({1: 0.7, 2: 0.7, 3: 0.8, 4: 0.8}, [1, 3, 4]),
        ({1: (0.7, 2.0), 2: (0.7, 1.0), 3: (0.8, 0.5), 4: (0.7, 1.0)}, [2, 3, 4]),
        ({1: (0.7, 1.0), 2: (0.7, 2.0), 3: (0.8, 0.5), 4: (0.7, 1.0)}, [1, 3, 4]),
    ],
)
def test_best_and_last_two_are_kept(tmp_path, errors, kept):
    save(tmp_path, errors)
    assert steps(tmp_path) == kept


def test_best_is_remembered_across_runs(tmp_path):
    save(tmp_path, {1: 0.3, 2: 0.5})
    save(tmp_path, {3: 0.4, 4: 0.6})
    assert steps(tmp_path) == [1, 3, 4]


def test_best_is_the_same_for_all_who_ask(tmp_path):
    save(tmp_path, {1: (0.3, 2.0), 2: (0.3, 1.0)})
    save(tmp_path, {3: (0.3, 1.5), 4: (0.3, 1.0)})
    assert steps(tmp_path) == [2, 3, 4]
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.best() == (2, (0.3, 1.0))
    _, progress = checkpoint.load_params(tmp_path, "best")
    assert progress.epoch == 2


def test_progress_of_an_earlier_version():
    assert Progress.from_json({"epoch": 1.5}) == Progress(1.5)


def test_previous_checkpoint_outlives_the_save(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, make_state(1), Progress(), 0.5)
        checkpoints.wait()
        checkpoints.save(2, make_state(2), Progress(), 0.4)
        checkpoints.wait()
        checkpoints.save(3, make_state(3), Progress(), 0.3)
        assert (tmp_path / "1").is_dir()
    assert steps(tmp_path) == [2, 3]


def test_steps_only_go_forward(tmp_path):
    save(tmp_path, {5: None})
    with pytest.raises(UserError, match="already holds step 5, so step 5 cannot be saved"):
        save(tmp_path, {5: None})
    with pytest.raises(UserError, match="choose another workdir"):
        save(tmp_path, {4: None})
    assert steps(tmp_path) == [5]


def test_a_run_that_stops_with_an_error_finishes_its_save(tmp_path):
    def stop() -> None:
        with Checkpoints(tmp_path) as checkpoints:
            for step in (1, 2, 3):
                checkpoints.save(step, make_state(step), Progress(), None)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert steps(tmp_path) == [2, 3]


def test_a_save_that_is_gone_or_cannot_begin_is_a_line(tmp_path, capfd, monkeypatch):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, make_state(1), Progress(), None)
        checkpoints.save(2, make_state(2), Progress(), None)
        checkpoints._writer.wait_until_finished()
        shutil.rmtree(tmp_path / "2")
        checkpoints.wait()
        assert (checkpoints.failure, checkpoints.saved) == (f"it is gone: {tmp_path}/2", 1)

        def full(*_, **__):
            raise OSError(28, "No space left on device")

        checkpoints.save(2, make_state(2), Progress(), None)
        checkpoints.wait()
        monkeypatch.setattr(checkpoints._writer, "save", full)
        checkpoints.save(3, make_state(3), Progress(), None)
        checkpoints.wait()
        assert (checkpoints.failure, checkpoints.saved) == ("No space left on device", 2)
    assert steps(tmp_path) == [1, 2]
    assert capfd.readouterr().err.splitlines() == [
        f"step {number} could not be saved ({why}): step {stays} stays"
        for number, why, stays in (
            (2, f"it is gone: {tmp_path}/2", 1),
            (3, "No space left on device", 2),
        )
    ]


def damage_record(directory: Path) -> None:
    path = directory / "_CHECKPOINT_METADATA"
    path.write_text(path.read_text().replace('"epoch": 3', '"epoch": 2'))


@pytest.mark.parametrize(
    "damage",
    [
        flip_bit,
        partial(flip_bit, where=0.1),
        truncate,
        damage_record,
        lambda directory: largest_file(directory).unlink(),
        lambda directory: (directory / "_CHECKPOINT_METADATA").unlink(),
        lambda directory: shutil.rmtree(directory / "state"),
    ],
    ids=["bit", "early bit", "truncated", "record", "data gone", "record gone", "all gone"],
)
def test_damaged_falls_back(tmp_path, damage, capfd):
    save(tmp_path, {1: 0.1, 3: 0.2})
    damage(tmp_path / "3")
    with Checkpoints(tmp_path) as checkpoints:
        restored, step, progress = checkpoints.restore(like(make_state(0)))
        assert_same(restored, make_state(1))
        assert (step, progress) == (1, Progress(epoch=1))
        last_line = capfd.readouterr().err.splitlines()[-1]
        assert last_line.startswith(f"checkpoint {tmp_path}/3 is damaged (")
        assert last_line.endswith("): looking for an earlier checkpoint")
        checkpoints.save(2, make_state(2), Progress(epoch=2), None)
    assert {path.name for path in tmp_path.iterdir()} == {"1", "2", "3.damaged"}
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(like(make_state(0)))[1] == 2


def test_losing_any_file_restores_a_saved_state(tmp_path):
    """Whichever file is lost, the restored state is a saved one."""
    save(tmp_path / "intact", {1: 0.1, 3: 0.2})
    files = [p for p in (tmp_path / "intact" / "3").rglob("*") if p.is_file()]
    for index, path in enumerate(files):
        copy = shutil.copytree(tmp_path / "intact", tmp_path / str(index))
        (copy / path.relative_to(tmp_path / "intact")).unlink()
        with Checkpoints(copy) as checkpoints:
            restored, step, _ = checkpoints.restore(like(make_state(0)))
        assert_same(restored, make_state(step))


def test_where_all_are_damaged_it_is_an_error(tmp_path):
    save(tmp_path, {1: 0.1, 3: 0.2})
    flip_bit(tmp_path / "1")
    truncate(tmp_path / "3")
    for _ in range(2):  # nothing was renamed, so the next start does not begin from scratch
        with Checkpoints(tmp_path) as checkpoints, pytest.raises(UserError, match="is damaged"):
            checkpoints.restore(like(make_state(0)))


def test_other_leaves_are_named(tmp_path, capfd):
    save(tmp_path, {1: 0.1, 3: 0.2})
    wide, half, more, fewer = (make_state(0) for _ in range(4))
    wide.params["fc8"]["bias"] = jnp.zeros((2, 7))
    half.params["fc8"]["bias"] = jnp.zeros((2, 5), jnp.bfloat16)
    more.params["fc9"] = {"bias": jnp.zeros(3)}
    del fewer.params["conv1"]
    there = rf"in checkpoint {tmp_path}/3 and"
    with Checkpoints(tmp_path) as checkpoints:
        for state, message in {
            "wide": (wide, rf"params/fc8/bias is float32\[2, 5\] {there} float32\[2, 7\] in this"),
            "half": (half, rf"params/fc8/bias is float32\[2, 5\] {there} bfloat16\[2, 5\] in this"),
            "more": (more, rf"params/fc9/bias is missing {there} float32\[3\] in this"),
            "fewer": (
                fewer,
                rf"params/conv1/kernel is float32\[2, 64, 8\] {there} missing in this",
            ),
        }.values():
            with pytest.raises(UserError, match=message):
                checkpoints.restore(like(state))
    assert "damaged" not in capfd.readouterr().err
    assert steps(tmp_path) == [1, 3]


def test_leftovers_are_removed(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    save(tmp_path, {1: 0.1})
    for name in ("2.orbax-checkpoint-tmp", "0.deleted"):
        shutil.copytree(tmp_path / "1", tmp_path / name)
    with monkeypatch.context() as system:
        system.setattr(os, "unlink", refused)
        with Checkpoints(tmp_path) as checkpoints:  # what cannot be removed is in nobody's way
            assert checkpoints.saved == 1
    assert (tmp_path / "0.deleted/_CHECKPOINT_METADATA").exists()
    with Checkpoints(tmp_path) as checkpoints:
        assert [path.name for path in tmp_path.iterdir()] == ["1"]
        assert checkpoints.restore(like(make_state(0)))[1] == 1


def test_other_dtypes_are_restored_too(tmp_path):
    state = {
        "half": jnp.arange(7, dtype=jnp.bfloat16),
        "byte": jnp.arange(7, dtype=jnp.uint8),
        "flag": jnp.array([True, False]),
    }
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, Progress(), None)
        assert_same(checkpoints.restore(like(state))[0], state)
    assert_same(checkpoint.load_params(tmp_path, "last")[0], jax.tree.map(np.asarray, state))


def test_the_best_the_last_or_a_step_is_loaded(tmp_path):
    save(tmp_path / "checkpoints", {1: 0.4, 2: 0.1, 3: 0.2})
    for where in (tmp_path, tmp_path / "checkpoints"):
        for step, wanted in {"best": 2, "last": 3, 2: 2}.items():
            params, progress = checkpoint.load_params(where, step)
            assert_same(params, jax.tree.map(np.asarray, make_state(wanted).params))
            assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(params))
            assert progress == Progress(epoch=wanted)


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="Linux")
def test_load_does_not_read_the_opt_state(tmp_path):
    def bytes_read() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    width = 200_000
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, make_state(1, width), Progress(), None)
        before = bytes_read()
        checkpoints.restore(like(make_state(1, width)))
        restored = bytes_read() - before
    before = bytes_read()
    checkpoint.load_params(tmp_path, "last")
    loaded = bytes_read() - before
    leaf = 2 * width * 8 * 4
    assert 2 * leaf <= restored < 2.5 * leaf
    assert leaf <= loaded < 1.5 * leaf


def test_load_says_what_is_wrong(tmp_path):
    with pytest.raises(UserError, match="there is no checkpoint in"):
        checkpoint.load_params(tmp_path / "nowhere")
    with pytest.raises(UserError, match="there is no checkpoint in"):
        checkpoint.load_params(tmp_path)
    save(tmp_path, {1: None})
    assert checkpoint.find(tmp_path) == 1  # not validated, but the only one
    assert checkpoint.find(tmp_path, "1") == 1
    with pytest.raises(UserError, match="checkpoint=lst: choose best, last or a step"):
        checkpoint.find(tmp_path, "lst")
    with pytest.raises(UserError, match=r"there is no step 2 in .*, only \[1\]"):
        checkpoint.load_params(tmp_path, 2)
    flip_bit_of(make_state(1).params["conv1"]["kernel"], tmp_path / "1")
    with pytest.raises(UserError, match=r"1 is damaged \(ValueError: params/conv1/kernel changed"):
        checkpoint.load_params(tmp_path, "last")
    with pytest.raises(UserError, match=r"; there is no other$"):
        checkpoint.load_params(tmp_path, 1)
    save(tmp_path / "more", {1: 0.1, 3: 0.2, 4: 0.3})
    flip_bit(tmp_path / "more/4")
    with pytest.raises(UserError, match=r"4 is damaged .*; others are there: step 1, 3$"):
        checkpoint.load_params(tmp_path / "more", "last")


def run(function: str, *arguments: Any, devices: int = 1) -> subprocess.Popen:
    """Calls a function of this file in another process."""
    code = (
        f"import jax; jax.config.update('jax_num_cpu_devices', {devices})\n"
        f"import test_checkpoint; test_checkpoint.{function}(*{arguments!r})"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])  # this checkout's alexnet
    environment = os.environ | {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen([sys.executable, "-c", code], env=environment)


def save_forever(directory: str, first: int) -> None:
    with Checkpoints(directory) as checkpoints:
        for step in range(first, 10_000):
            checkpoints.save(step, make_state(step, width=20_000), Progress(epoch=step), None)


@pytest.mark.slow
def test_killed_while_saving(tmp_path):
    last = 0
    for _ in range(3):
        process = run("save_forever", str(tmp_path), last + 1)
        while not list(tmp_path.glob(f"{last + 3}.orbax-checkpoint-tmp")):
            assert process.poll() is None
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        with Checkpoints(tmp_path) as checkpoints:
            state, step, progress = checkpoints.restore(like(make_state(0, width=20_000)))
        assert step >= last + 2
        assert progress == Progress(epoch=step)
        assert_same(state, make_state(step, width=20_000))
        last = step


def sharded(state: TrainState, mesh: jax.sharding.Mesh) -> TrainState:
    """`like`, the leading axis of all but the step over the towers."""

    def put(leaf):
        spec = jax.P("tower") if leaf.ndim else jax.P()
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=jax.NamedSharding(mesh, spec))

    return jax.tree.map(put, state)


def make_mesh(data: int, tower: int) -> jax.sharding.Mesh:
    axis_types = (jax.sharding.AxisType.Auto,) * 2
    return jax.make_mesh(
        (data, tower), ("data", "tower"), axis_types, devices=jax.devices()[: data * tower]
    )


def cross_meshes(directory: str) -> None:
    state = make_state(1)
    meshes = [(1, 1), (1, 2), (2, 1), (2, 2), (1, 1)]
    with Checkpoints(directory) as checkpoints:
        for step, shape in enumerate(meshes):
            target = sharded(make_state(1), make_mesh(*shape))
            if step:
                state, _, _ = checkpoints.restore(target)
            state = jax.device_put(state, jax.tree.map(lambda leaf: leaf.sharding, target))
            kernel = state.params["conv1"]["kernel"]
            assert kernel.sharding.mesh.devices.shape == shape
            assert_same(state, make_state(1))
            checkpoints.save(step, state, Progress(), None)


@pytest.mark.slow
def test_a_mesh_restores_what_another_saved(tmp_path):
    assert run("cross_meshes", str(tmp_path), devices=4).wait() == 0
    with Checkpoints(tmp_path) as checkpoints:
        assert_same(checkpoints.restore(like(make_state(0)))[0], make_state(1))


def two_processes(directory: str, address: str, process: int) -> None:
    jax.distributed.initialize(address, num_processes=2, process_id=process)
    target = sharded(make_state(0), make_mesh(1, 2))

    def place(leaf, like):
        return jax.make_array_from_callback(
            leaf.shape, like.sharding, lambda i: np.asarray(leaf)[i]
        )

    with Checkpoints(directory) as checkpoints:
        for step in (1, 2, 3):
            state = jax.tree.map(place, make_state(step), target)
            assert not state.params["conv1"]["kernel"].is_fully_addressable
            checkpoints.save(step, state, Progress(), 0.1 * step)
    multihost = jax.experimental.multihost_utils
    multihost.sync_global_devices("saved")
    if process == 0:
        flip_bit(Path(directory) / "3", where=0.1)
    multihost.sync_global_devices("damaged")
    with Checkpoints(directory) as checkpoints:
        restored, step, _ = checkpoints.restore(target)
        assert step == 2
        kernel = multihost.process_allgather(restored.params["conv1"]["kernel"], tiled=True)
        np.testing.assert_array_equal(kernel, make_state(2).params["conv1"]["kernel"])
        checkpoints.save(3, jax.tree.map(place, make_state(3), target), Progress(), None)


@pytest.mark.slow
def test_two_processes_save_and_restore_together(tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    processes = [run("two_processes", str(tmp_path), address, i) for i in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    with Checkpoints(tmp_path) as checkpoints:
        state, step, _ = checkpoints.restore(like(make_state(0)))
    assert step == 3
    assert_same(state, make_state(3))


def test_a_renamed_checkpoint_is_noticed(tmp_path):
    save(tmp_path, {1: 0.1, 3: 0.2})
    (tmp_path / "3").rename(tmp_path / "4")
    for look in (lambda: Checkpoints(tmp_path), lambda: checkpoint.load_params(tmp_path, "last")):
        with pytest.raises(UserError, match=r"4 is the checkpoint of step 3, renamed: name it 3"):
            look()
    assert steps(tmp_path) == [1, 4]


def test_a_checkpoint_of_another_run_is_noticed(tmp_path):
    with Checkpoints(tmp_path, "one") as checkpoints:
        checkpoints.save(1, make_state(1), Progress(), None)
    with pytest.raises(UserError, match="1 belongs to another run: move it to another folder"):
        Checkpoints(tmp_path, "two")
    for run in ("one", ""):  # whoever knows of no run takes it as it is
        with Checkpoints(tmp_path, run) as checkpoints:
            assert checkpoints.saved == 1


def test_strays_are_named_and_left_alone(tmp_path, capfd):
    save(tmp_path, {1: 0.1})
    for name in ("50", "50.orbax-checkpoint-tmp", "notes.txt", "²", "007"):
        (tmp_path / name).write_text("mine")
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(like(make_state(0)))[1] == 1
    lines = capfd.readouterr().err.splitlines()
    assert sorted(line.split()[0].rpartition("/")[2] for line in lines) == sorted(
        ["50", "50.orbax-checkpoint-tmp", "notes.txt", "²", "007"]
    )
    assert all(line.endswith("is not a checkpoint: it is ignored") for line in lines)
    assert (tmp_path / "50").read_text() == "mine"
    assert not record.begun(tmp_path / "none")


def test_the_best_whose_record_is_damaged_is_kept(tmp_path):
    save(tmp_path, {1: 0.1, 2: 0.5, 3: 0.4})
    assert steps(tmp_path) == [1, 2, 3]
    record_file = tmp_path / "1" / "_CHECKPOINT_METADATA"
    record_file.write_text(record_file.read_text().replace('"epoch": 1', '"epoch": 7'))
    with Checkpoints(tmp_path) as checkpoints:
        for step in (4, 5):
            checkpoints.save(step, make_state(step), Progress(), 0.3)
        assert checkpoints.best()[0] == 4  # what cannot be read is not announced
    assert steps(tmp_path) == [1, 4, 5]


def unprivileged(function: str, *arguments: Any) -> subprocess.CompletedProcess:
    """Calls a function of this file as nobody, if we are root."""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    code = (
        "import os, test_checkpoint  # while the files of Python can be read\n"
        "test_checkpoint.restore_and_say(os.environ['WARM'])\n"
        "if os.getuid() == 0: os.setgid(65534), os.setuid(65534)\n"
        f"test_checkpoint.{function}(*{arguments!r})"
    )
    warm = Path(arguments[0]).with_name("warm")
    save(warm, {7: None})
    environment = os.environ | {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu", "WARM": str(warm)}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, text=True, capture_output=True, check=False)


def restore_and_say(directory: str) -> None:
    try:
        with Checkpoints(directory) as checkpoints:
            print(checkpoints.restore(like(make_state(0)))[1])
    except UserError as error:
        print(error)


@pytest.fixture
def public():
    """A folder that everybody may read and write."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder) / "checkpoints"


@pytest.mark.slow
@pytest.mark.parametrize("forbidden", ["3/state", "3/_CHECKPOINT_METADATA", "1"])
def test_what_may_not_be_read_is_not_damaged(public, forbidden):
    save(public, {1: 0.1, 3: 0.2})
    public.chmod(0o777)
    before = (public / forbidden).stat().st_mode
    (public / forbidden).chmod(0)
    warm, line = unprivileged("restore_and_say", str(public)).stdout.splitlines()
    (public / forbidden).chmod(before)
    assert warm == "7"
    assert "cannot be read now (Permission denied" in line
    assert "nothing was changed" in line
    assert steps(public) == [1, 3]


@pytest.mark.slow
def test_a_folder_where_nothing_can_be_written_is_one_line(public):
    save(public, {1: 0.1})
    public.chmod(0o555)
    warm, line = unprivileged("restore_and_say", str(public)).stdout.splitlines()
    public.chmod(0o755)
    assert (warm, line) == ("7", f"cannot write in {public}: checkpoints are saved there")


def save_where_files_are_small(directory: str) -> None:
    import resource

    with Checkpoints(directory) as checkpoints:
        for step in (1, 2, 3, 4):
            most = 1000 if step in (2, 3) else resource.RLIM_INFINITY
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
            checkpoints.save(step, make_state(step, width=20_000), Progress(), 0.1 * step)
            checkpoints.wait()
            print(step, bool(checkpoints.failure), checkpoints.saved)
            if step == 3:  # as by a write of another array that ends after the failure
                (Path(directory) / "3.orbax-checkpoint-tmp/state").mkdir(
                    parents=True, exist_ok=True
                )


def test_a_save_that_fails_is_a_line_and_the_next_one_may_succeed(tmp_path):
    """A file that may not grow any more fails as on a full disk."""
    done = run_captured("save_where_files_are_small", str(tmp_path))
    assert done.stdout.splitlines() == ["1 False 1", "2 True 1", "3 True 1", "4 False 4"], (
        done.stderr
    )
    for step, line in zip((2, 3), done.stderr.splitlines(), strict=True):
        assert line.startswith(f"step {step} could not be saved (File too large")
        assert line.endswith("): step 1 stays")
    assert steps(tmp_path) == [1, 4]


def run_captured(function: str, *arguments: Any) -> subprocess.CompletedProcess:
    """`run`, with what it prints."""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    code = f"import test_checkpoint; test_checkpoint.{function}(*{arguments!r})"
    environment = os.environ | {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, text=True, capture_output=True, check=False)


@pytest.mark.slow
def test_a_reader_beside_a_writer_never_sees_damage(tmp_path):
    process = run("save_forever", str(tmp_path), 1)
    try:
        while len([p for p in tmp_path.iterdir() if p.name.isdigit()]) < 2:
            assert process.poll() is None
            time.sleep(0.01)
        seen = []
        for _ in range(15):
            params, progress = checkpoint.load_params(tmp_path, "last")
            seen.append(int(progress.epoch))
            assert_same(params, jax.tree.map(np.asarray, make_state(seen[-1], width=20_000).params))
    finally:
        process.kill()
        process.wait()
    assert len(set(seen)) > 1  # it went on meanwhile


def test_a_checkpoint_that_is_replaced_while_it_is_looked_up_is_not_missed(tmp_path, monkeypatch):
    with Checkpoints(tmp_path) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, make_state(step), Progress(epoch=step), 1.0 - step / 10)
    found, find = [], checkpoint.find

    def replaced(directory, which):
        found.append(find(directory, which))
        if len(found) == 1:  # as by a run that trains there
            shutil.rmtree(tmp_path / "2")
        return found[-1]

    monkeypatch.setattr(checkpoint, "find", replaced)
    step, params, progress = checkpoint.load_step(tmp_path, "best")
    assert (found, step, progress.epoch) == ([2, 1], 1, 1)
    assert_same(params, jax.tree.map(np.asarray, make_state(1).params))


def test_what_a_validation_found_is_added_to_a_checkpoint(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, make_state(1), Progress(epoch=1, due=True), None)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(like(make_state(0)))[2].due
        done = Progress(epoch=1, validation_errors=(0.5,))
        checkpoints.validated(1, done, record.Validation(0.5, 1.5))
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.best() == (1, (0.5, 1.5))
        state, _, progress = checkpoints.restore(like(make_state(0)))
    assert progress == done
    assert_same(state, make_state(1))


def two_views(first: str, second: str, address: str, process: int) -> None:
    """Each process sees the checkpoints in a different folder, as on disks that disagree."""
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(address, num_processes=2, process_id=process)
    target = sharded(make_state(0), make_mesh(1, 2))
    with Checkpoints((first, second)[process]) as checkpoints:
        restored, step, _ = checkpoints.restore(target)
        shard = restored.params["conv1"]["kernel"].addressable_data(0)
        np.testing.assert_array_equal(shard[0], make_state(1).params["conv1"]["kernel"][process])
    assert step == 1


@pytest.mark.slow
def test_what_is_damaged_for_one_process_is_so_for_all(tmp_path):
    save(tmp_path / "0", {1: 0.1, 3: 0.2})
    shutil.copytree(tmp_path / "0", tmp_path / "1")
    truncate(tmp_path / "1" / "3")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    folders = [str(tmp_path / name) for name in "01"]
    processes = [run("two_views", *folders, address, i) for i in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert {path.name for path in (tmp_path / "0").iterdir()} == {"1", "3.damaged"}


def test_uncaught_exceptions_are_reported_but_for_those_of_abandoned_writes(monkeypatch):
    told = []
    monkeypatch.setattr(snapshot, "_hooks", [pytest.fail, told.append])
    for error in (RuntimeError("Event loop is closed"), ValueError("another")):
        snapshot._without_orbax(SimpleNamespace(exc_value=error))
    assert [str(what.exc_value) for what in told] == ["another"]
