"""What a mistake is called, by a function, from a config and by a command."""

import pickle
import signal

import pytest

from alexnet import cli
from alexnet import config as configs
from alexnet.errors import Interrupted, UserError, circumstance, is_number, nearest
from alexnet.models.build import build
from alexnet.training import schedule

NO_LAYER = "net alexnet (original) has no layer 'conv9'; did you mean 'conv5'?"


def from_config() -> None:
    configs.call(build, "net", {"name": "alexnet", "remove": "conv9"}, classes=10)


def test_a_function_names_its_own_argument():
    with pytest.raises(ValueError, match="remove") as error:
        build("alexnet", classes=10, remove="conv9")
    assert type(error.value) is UserError
    assert str(error.value) == f"remove: {NO_LAYER}"
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("val", "validation"),
        ("validaton", "validation"),
        ("tes", "test"),
        ("t", ""),  # test or train: neither
        ("", ""),
        ("x", ""),
    ],
)
def test_the_nearest_word(word, near):
    found = nearest(word, iter(["train", "validation", "test"]))
    assert found == (f"; did you mean {near!r}?" if near else "")


def test_from_a_config_it_is_a_setting():
    with pytest.raises(UserError) as error:
        from_config()
    assert str(error.value) == f"config.net.remove: {NO_LAYER}"
    assert error.value.__suppress_context__


def test_to_a_command_it_is_an_option(capsys):
    with pytest.raises(SystemExit):
        cli.run(from_config)
    assert capsys.readouterr().err == f"error: --config.net.remove: {NO_LAYER}\n"


def test_the_programs_own_arguments_are_no_settings():
    def function(rate, epochs):
        raise UserError("too long", f"epochs={epochs}")

    with pytest.raises(UserError, match=r"^epochs=9: too long$"):
        configs.call(function, "schedule", {"rate": 1}, epochs=9)


def test_a_class_names_its_own_fields_too():
    settings = {"kind": "plateau", "rate": -1.0}
    with pytest.raises(UserError, match=r"^config\.schedule\.rate=-1\.0: must be 0 or more$"):
        configs.call(schedule.build, "schedule", settings, epochs=9)


def test_a_mistake_within_a_config_file_names_both(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from alexnet.models.build import build\n"
        "def get_config():\n    build('alexnet', classes=10, remove='conv9')\n"
    )
    with pytest.raises(UserError) as error:
        configs.load(f"{tmp_path}/mine.py", {})
    assert str(error.value) == f"{tmp_path}/mine.py: remove: {NO_LAYER}"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "out of memory: when training, choose a smaller"),
        (MemoryError("2 TiB"), "out of memory (2 TiB): when training, choose a smaller"),
        (
            RuntimeError("Unable to initialize backend 'cuda':\nno GPU"),
            "jax has no device (Unable to initialize backend 'cuda': no GPU)",
        ),
        (
            RuntimeError("UNKNOWN: <unknown cudnn status: 5003>\nin cuda_dnn.cc(5245): 'status'"),
            (
                "cuDNN failed (UNKNOWN: <unknown cudnn status: 5003> in cuda_dnn.cc(5245): "
                "'status'): with config.cuda_graphs=true, set it to false, as no CUDA graph may"
            ),
        ),
        (RuntimeError("CUDNN_STATUS_EXECUTION_FAILED in cuda_dnn.cc"), "cuDNN failed (CUDNN_STA"),
        (RuntimeError("RESOURCE_EXHAUSTED: 1 GB for cudnn status"), "out of memory"),
    ],
)
def test_what_the_machine_lacks_is_a_line(error, said):
    assert circumstance(error).startswith(said)


def test_an_interruption_says_which_signal_stopped_the_run():
    assert str(Interrupted(signal.SIGTERM)) == "stopped by SIGTERM, after a checkpoint"


def test_a_number_beyond_all_floats_is_no_number():
    assert not is_number(10**400)
    assert is_number(10**300)
