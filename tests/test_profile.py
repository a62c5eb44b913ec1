"""alexnet.profile: times go to the layer that spends them."""

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict
from tiny import ROOT, tiny_config

from alexnet import config as configs
from alexnet import profile
from alexnet.errors import UserError

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
  %state_velocity__conv2____kernel__.1 = f32[4]{0} parameter(0)
  %fusion.a = f32[4]{0} fusion(%q), kind=kLoop, calls=%fused_a
  %back = f32[4]{0} add(%q), metadata={op_name="jit(train_step)/transpose(jvp(Network))/conv1/add"}
  %copy.9 = f32[4]{0} copy(%back)
  %weight.gradient = f32[4]{0} fusion(%copy.9), kind=kCustom, calls=%fused_b
  ROOT %new = f32[4]{0} fusion(%state_velocity__conv2____kernel__.1, %weight.gradient), \
metadata={op_name="jit(train_step)/update/add"}
}
"""


def test_operations_belong_to_the_layer_that_they_name():
    owner = profile.owners(HLO, {"conv1", "conv2", "norm1", "update"})
    assert owner["fusion.a"] == ("norm1", "forward")
    assert owner["back"] == ("conv1", "gradient")
    assert owner["new"] == ("update", "forward")


def test_a_weight_gradient_without_a_name_belongs_to_the_velocity_that_it_ends_in():
    owner = profile.owners(HLO, {"conv1", "conv2", "norm1", "update"})
    assert owner["weight.gradient"] == owner["copy.9"] == ("conv2", "gradient")


def test_times_of_a_real_trace_name_operations_of_the_program(tmp_path):
    program = jax.jit(lambda a: jnp.sin(a @ a)).lower(jnp.ones((200, 200))).compile()
    with jax.profiler.trace(str(tmp_path)):
        jax.block_until_ready(program(jnp.ones((200, 200))))
    spent = profile.times(tmp_path)
    assert set(spent) & set(profile.owners(program.as_text(), ()))
    assert all(ms > 0 for ms in spent.values())


def test_the_times_of_a_layer_add_up_over_operations_and_steps():
    owner = {"a": ("conv1", "forward"), "b": ("conv1", "forward"), "c": ("conv1", "gradient")}
    found = profile.by_layer({"a": 6.0, "b": 4.0, "c": 2.0, "unknown": 8.0}, owner, 2)
    assert found["conv1"] == {"forward": 5.0, "gradient": 1.0}
    assert found["other"] == {"forward": 4.0, "gradient": 0.0}


def test_the_command_shows_every_layer(data_dir, tmp_path, capsys, monkeypatch):
    config: ConfigDict = tiny_config(data_dir)
    monkeypatch.setattr(configs, "load", lambda file: config)
    profile.main(["--config=tiny", "--steps=1", f"--trace={tmp_path / 'trace'}"])
    text = capsys.readouterr().out
    for layer in ("conv1", "norm1", "pool1", "conv3", "fc6", "fc8", "augment", "update"):
        assert f"\n{layer} " in text
    assert list((tmp_path / "trace").rglob("*.xplane.pb"))


@pytest.mark.parametrize("steps", ["0", "-1", "many"])
def test_steps_must_be_a_number(steps):
    with pytest.raises(UserError, match=r"--steps="):
        profile.main([f"--config={ROOT}/configs/digits.py", f"--steps={steps}"])
