"""Times go to the layer that spends them."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from alexnet.analysis import hlo
from alexnet.devices import mesh as meshes
from alexnet.kernels import convolution
from alexnet.kernels.choose import compiler_options
from alexnet.training.setup import setup
from alexnet.training.step import SCOPES

HLO = """HloModule jit_train_step
%fused_a (p: f32[4]) -> f32[4] {
  %p = f32[4]{0} parameter(0)
  ROOT %m = f32[4]{0} multiply(%p, %p), metadata={op_name="jit(train_step)/jvp(Network)/norm1/mul"}
}
%fused_b (p.1: f32[4]) -> f32[4] {
  %p.1 = f32[4]{0} parameter(0)
  ROOT %c = f32[4]{0} convolution(%p.1, %p.1)
}
ENTRY %main (q: f32[4]) -> f32[4] {
  %state_opt_state__momentum___trace__conv2____kernel__.1 = f32[4]{0} parameter(0)
  %fusion.a = f32[4]{0} fusion(%q), kind=kLoop, calls=%fused_a
  %back = f32[4]{0} add(%q), metadata={op_name="jit(train_step)/transpose(jvp(Network))/conv1/add"}
  %copy.9 = f32[4]{0} copy(%back)
  %weight.gradient = f32[4]{0} fusion(%copy.9), kind=kCustom, calls=%fused_b
  %turned = f32[4]{0} copy(%q), metadata={op_name="jit(train_step)/jvp(Network)/fc6/transpose"}
  ROOT %new = f32[4]{0} fusion(%state_opt_state__momentum___trace__conv2____kernel__.1, %weight\
.gradient), metadata={op_name="jit(train_step)/update/add"}
}
"""


def test_operations_belong_to_the_layer_that_they_name():
    owner = hlo.owners(HLO, {"conv1", "conv2", "norm1", "update"})
    assert owner["fusion.a"] == ("norm1", "forward")
    assert owner["back"] == ("conv1", "gradient")
    assert owner["turned"] == ("other", "forward")
    assert hlo.owners(HLO, {"fc6"})["turned"] == ("fc6", "forward")
    assert owner["new"] == ("update", "forward")


def test_a_weight_gradient_without_a_name_belongs_to_the_velocity_that_it_ends_in():
    owner = hlo.owners(HLO, {"conv1", "conv2", "norm1", "update"})
    assert owner["weight.gradient"] == owner["copy.9"] == ("conv2", "gradient")


def test_no_operation_of_a_real_step_is_lost(tiny):
    run = setup(tiny)
    shapes = jax.eval_shape(lambda: (run.fresh(), next(run.batches())[1], run.hyperparameters(1)))
    text = run.train_program.lower(*shapes, run.statistics, run.key).compile().as_text()
    names = {row.name for row in run.net.rows} | set(SCOPES)
    found = hlo.owners(text, names)
    owners = found.values()
    heavy = [name for name in found if name.startswith(("convolution", "dot"))]
    assert heavy
    assert not [name for name in heavy if found[name][0] == "other"]
    weighted = {(row.name, "gradient") for row in run.net.weighted}
    assert weighted <= set(owners)


def test_a_real_trace_names_operations_of_the_program(tmp_path):
    program = jax.jit(lambda a: jnp.sin(a @ a)).lower(jnp.ones((200, 200))).compile()
    with jax.profiler.trace(str(tmp_path)):
        jax.block_until_ready(program(jnp.ones((200, 200))))
    text = program.as_text()
    found = hlo.spans(tmp_path, hlo.users(text))
    assert {name for _, _, name in found} & set(hlo.owners(text, ()))
    assert all(start < stop for start, stop, _ in found)


def test_a_convolution_that_runs_on_other_threads_gets_its_time(tmp_path):
    x_BHWC, kernel_HWIO = jnp.ones((32, 27, 27, 48)), jnp.ones((5, 5, 48, 128))

    def net(x_BHWC, kernel_HWIO):
        return jnp.maximum(convolution.conv(x_BHWC, kernel_HWIO, 1, ((2, 2), (2, 2))), 0)

    options = compiler_options(meshes.make(towers=1, batch_size=1, data=1, tower=1))
    program = jax.jit(net, compiler_options=options).lower(x_BHWC, kernel_HWIO).compile()
    jax.block_until_ready(program(x_BHWC, kernel_HWIO))
    with jax.profiler.trace(str(tmp_path)):
        for _ in range(5):  # the end of the very last may come too late for the trace
            jax.block_until_ready(program(x_BHWC, kernel_HWIO))
    spent = hlo.shared(hlo.spans(tmp_path, hlo.users(program.as_text())))
    assert sum(ms for name, ms in spent.items() if "conv" in name) > 0.5 * sum(spent.values())


def event(name: str, start: float, ns: float = 0.0, operation: str = "") -> SimpleNamespace:
    stats = [("hlo_op", operation)] if operation else []
    return SimpleNamespace(name=name, start_ns=start, duration_ns=ns, stats=stats)


def test_an_operation_ends_with_its_work_on_any_thread_or_when_its_result_is_read(
    tmp_path, monkeypatch
):
    a = [event("a", start, 5, "a") for start in (0, 100, 200)]
    ends = [event(f"{hlo._END}a", start) for start in (250, 150, 50)]  # of threads in any order
    b = [event("b", start, 9, "b") for start in (220, 120)]
    threads = [SimpleNamespace(events=events) for events in (a, ends, b)]
    profile = SimpleNamespace(planes=[SimpleNamespace(lines=threads)])
    monkeypatch.setattr(jax.profiler.ProfileData, "from_file", lambda file: profile)
    (tmp_path / "one.xplane.pb").touch()
    own = [(120, 129, "b"), (220, 229, "b")]
    alone, read = [(0, 50), (100, 150), (200, 250)], [(0, 50), (100, 120), (200, 220)]
    for users, expected in (({}, alone), ({"a": {"b"}}, read)):
        found = sorted(hlo.spans(tmp_path, users))
        assert found == sorted([*((start, stop, "a") for start, stop in expected), *own])


def test_users_are_the_operations_that_read_a_result():
    assert hlo.users(HLO)["back"] == {"copy.9"}
    assert hlo.users(HLO)["weight.gradient"] == {"new"}


def test_operations_that_run_at_once_share_the_time():
    # a alone for 2 ms, with b for 4, b alone for 2; then nothing; then a again for 1
    ms = [(0, 6, "a"), (2, 8, "b"), (20, 21, "a")]
    spent = hlo.shared([(start * 1e6, stop * 1e6, name) for start, stop, name in ms])
    assert spent == pytest.approx({"a": 2 + 2 + 1, "b": 2 + 2})


def test_the_times_of_a_layer_add_up_over_operations_and_steps():
    owner = {"a": ("conv1", "forward"), "b": ("conv1", "forward"), "c": ("conv1", "gradient")}
    found = hlo.by_layer({"a": 6.0, "b": 4.0, "c": 2.0, "unknown": 8.0}, owner, 2)
    assert found["conv1"] == {"forward": 5.0, "gradient": 1.0}
    assert found["other"] == {"forward": 4.0, "gradient": 0.0}
