"""The table of a step's times."""

import pytest
from ml_collections import ConfigDict
from support.tiny import ROOT, tiny_config

from alexnet import config as configs
from alexnet import profile
from alexnet.errors import UserError


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
