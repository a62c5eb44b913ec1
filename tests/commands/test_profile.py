"""The table of a step's times."""

import contextlib
import itertools
import re
from types import SimpleNamespace

import pytest
from ml_collections import ConfigDict
from support.tiny import ROOT, tiny_config

from alexnet import config as configs
from alexnet import profile
from alexnet.analysis import cost
from alexnet.errors import UserError
from alexnet.models.build import build


@pytest.mark.slow
def test_the_command_shows_every_layer(data_dir, tmp_path, capsys, monkeypatch):
    config: ConfigDict = tiny_config(data_dir)
    monkeypatch.setattr(configs, "load", lambda file, kinds: config)
    profile.main(["--config=tiny", "--steps=1", f"--trace={tmp_path / 'trace'}"])
    text = capsys.readouterr().out
    for layer in ("conv1", "norm1", "pool1", "conv3", "fc6", "fc8", "augment", "update"):
        assert f"\n{layer} " in text
    assert list((tmp_path / "trace").rglob("*.xplane.pb"))


@pytest.mark.parametrize("steps", ["0", "-1", "many"])
def test_steps_must_be_a_positive_whole_number(steps):
    with pytest.raises(UserError, match=r"--steps="):
        profile.main([f"--config={ROOT}/configs/digits.py", f"--steps={steps}"])


def test_a_run_of_too_few_steps_is_not_measured(data_dir, monkeypatch):
    config = tiny_config(data_dir)
    config.epochs = 1.0  # 6 steps
    monkeypatch.setattr(configs, "load", lambda file, kinds: config)
    with pytest.raises(UserError, match=r"steps=5: the run has 6 steps, and the first 2 warm up"):
        profile.main(["--config=tiny", "--steps=5"])


@pytest.mark.parametrize(
    ("platform", "dtype", "precision", "asked"),
    [
        ("cpu", "float32", "float32", ()),
        ("cpu", "bfloat16", "float32", ()),
        ("gpu", "float32", "float32", (8192, "float32", "float32")),
        ("gpu", "float32", "tf32", (8192, "float32", "tensorfloat32")),
        ("gpu", "bfloat16", "float32", (8192, "bfloat16", "float32")),
    ],
)
def test_the_floor_is_of_the_runs_precision_and_devices(
    monkeypatch, platform, dtype, precision, asked
):
    def rate(*arguments, **named):
        assert (named or arguments) == asked
        return 10.0

    monkeypatch.setattr(profile, "matmul_rate", rate)
    monkeypatch.setattr(profile, "on_cpu", lambda mesh: platform == "cpu")
    config = ConfigDict({"dtype": dtype, "precision": precision})
    run = SimpleNamespace(config=config, mesh=SimpleNamespace(size=2))
    assert profile.product_rate(run) == (10.0 if platform == "cpu" else 20.0)


def test_the_table_by_hand():
    net = build("pocket", classes=10)
    spent = {  # in ms
        "update": {"forward": 4.0, "gradient": 0.0},
        "conv2": {"forward": 10.0, "gradient": 30.0},
        "relu1": {"forward": 0.3, "gradient": 0.1},
        "other": {"forward": 1155.6, "gradient": 0.0},
    }
    title, head, *lines, footer = profile.describe(net, 100, spent, 0.08, 150e9).splitlines()
    flop = {row.name: 2 * row.training for row in cost.costs(net, 100)}  # of both towers
    floor = sum(flop.values()) / 150e9
    assert title == (
        f"pocket alexnet, batch 100: 80 ms a step, 1,250 images/s; the floor at 150 GFLOP/s is "
        f"{1e3 * floor:.0f} ms ({100 * floor / 0.08:.0f}%)"
    )
    assert re.split("  +", head) == [
        *("layer", "forward ms", "gradient ms", "share", "GFLOP", "GFLOP/s", "of the floor")
    ]
    assert [line.split() for line in lines] == [  # in the net's order
        ["relu1", "0.3", "0.1", "0.0%"],
        [
            *("conv2", "10.0", "30.0", "3.3%"),
            f"{flop['conv2'] / 1e9:.1f}",
            f"{flop['conv2'] / 0.04 / 1e9:.0f}",
            f"{100 * flop['conv2'] / 0.04 / 150e9:.0f}%",
        ],
        ["update", "4.0", "0.0", "0.3%"],
        ["other", "1,155.6", "0.0", "96.3%"],
    ]
    assert footer == "all operations: 1,200 ms a step"


def test_a_short_step_has_more_digits():
    net, spent = build("pocket", classes=10), {"conv2": {"forward": 0.12, "gradient": 0.2671}}
    title, _, line, footer = profile.describe(net, 100, spent, 0.00045, 150e12).splitlines()
    assert "0.45 ms a step, 222,222 images/s" in title
    assert line.split()[:3] == ["conv2", "0.120", "0.267"]
    assert footer == "all operations: 0.39 ms a step"


class Watched:
    """A run whose steps only say that they ran, on a clock of their own."""

    def __init__(self):
        self.said, self.now = [], 0.0
        self.net, self.key, self.statistics = build("pocket", classes=10), "key", "mean"
        self.train_program = SimpleNamespace(lower=lambda *_: SimpleNamespace(compile=self.compile))
        self.mesh, self.options = "mesh", []

    def compile(self, options=None):
        self.options.append(options)
        return self if options is None else Traced(self)

    steps = 5
    fresh = staticmethod(lambda layers: "fresh")
    hyperparameters = staticmethod(lambda step: f"rate {step}")
    batches = staticmethod(lambda: ((n, f"batch {n}") for n in itertools.count(1)))
    precision = staticmethod(contextlib.nullcontext)
    as_text = staticmethod(lambda: '  %add.1 = f32[] add(), metadata={op_name="jit(f)/conv1/add"}')

    def __call__(self, state, batch, hyperparameters, statistics, key):
        assert (hyperparameters, statistics, key) == ("rate 1", "mean", "key")
        self.said.append(batch)
        self.now += 0.25
        return self, 0.0

    def block_until_ready(self):
        self.said[-1] += " done"

    @contextlib.contextmanager
    def trace(self, folder):
        self.said.append(f"trace in {folder}")
        yield
        self.said.append("end")

    def spans(self, trace, users):
        self.said.append(f"read {trace}")
        return [(0.0, 6e6, "add.1")]

    def rate(self):
        self.said.append("measure the rate")
        self.now += 100.0
        return 50e9


class Traced:
    """The second program of a GPU."""

    def __init__(self, run: Watched):
        self.run, self.as_text = run, run.as_text

    def __call__(self, *arguments):
        self.run.said.append("for the trace")
        return self.run(*arguments)


@pytest.mark.parametrize("kept", [True, False])
def test_steps_are_warmed_up_then_timed_then_traced(kept, tmp_path, monkeypatch, capsys):
    run, cpu = Watched(), kept
    monkeypatch.setattr(profile, "on_cpu", lambda mesh: cpu)
    monkeypatch.setattr(profile, "setup", lambda config: run)
    monkeypatch.setattr(profile, "product_rate", lambda run: run.rate())
    monkeypatch.setattr(profile, "time", SimpleNamespace(perf_counter=lambda: run.now))
    monkeypatch.setattr(profile.jax.profiler, "trace", run.trace)
    monkeypatch.setattr(profile.hlo, "spans", run.spans)
    monkeypatch.setattr(profile.runtime, "cache_compilations", lambda: run.said.append("cache"))
    options = [f"--trace={tmp_path}"] if kept else []
    profile.main([f"--config={ROOT}/configs/digits.py", "--config.batch_size=32", *options])
    # On a GPU, kernels of command buffers would all be "other"; training has them.
    assert run.options == [None, {"xla_gpu_enable_command_buffer": ""}][: 2 - cpu]
    assert run.said.count("for the trace") == (0 if cpu else 4)  # one warms up
    run.said = [one for one in run.said if one != "for the trace"]
    if not cpu:
        del run.said[7]
    cached, *warm, rate = run.said[:4]
    assert cached == "cache"  # before anything is compiled
    assert warm == ["batch 4 done", "batch 5 done"]
    assert rate == "measure the rate"
    three = ["batch 1 done", "batch 2 done", "batch 3 done"]
    begin, *traced, end, read = run.said[7:]
    assert run.said[4:7] == traced == three
    folder = begin.removeprefix("trace in ")
    assert (end, read) == ("end", f"read {folder}")
    assert (folder == str(tmp_path)) == kept
    title, _, line, _ = capsys.readouterr().out.splitlines()
    assert "batch 32: 250 ms a step, 128 images/s; the floor at 50 GFLOP/s" in title
    assert line.split()[:4] == ["conv1", "2.0", "0.0", "100.0%"]  # 6 ms in three steps
