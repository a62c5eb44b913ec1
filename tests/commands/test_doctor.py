"""alexnet doctor: what a machine has, and what is amiss there."""

import os
import re
from types import SimpleNamespace

import jax
import numpy
import pytest

from alexnet import doctor
from alexnet.data.prepare import prepare
from alexnet.errors import UserError


def said(capsys, *argv: str) -> tuple[dict[str, str], list[str]]:
    """({subject: text}, warnings)"""
    doctor.main(argv)
    out, error = capsys.readouterr()
    return dict(re.split(r"  +", line, maxsplit=1) for line in out.splitlines()), error.splitlines()


def test_it_shows_versions_devices_and_datasets(tmp_path, capsys):
    prepare("digits", str(tmp_path), 8)
    damaged = prepare("digits", str(tmp_path), 9).path
    (damaged / "info.json").write_text("{")
    doctor.main([f"--data_dir={tmp_path}"])
    out = capsys.readouterr().out
    assert f"numpy {numpy.__version__}" in out
    assert f"jax {jax.__version__}" in out
    assert re.search(rf"^devices +{jax.device_count()} x cpu, [\d.]+ GiB$", out, re.M)
    assert re.search(rf"^data_dir +{tmp_path}, [\d,.]+ GiB free$", out, re.M)
    assert re.search(
        r"^dataset +digits-8px: 1,438 train, 359 validation, 10 classes$", out, re.MULTILINE
    )
    assert re.search(rf"^dataset +{damaged}/info.json .* is damaged", out, re.M)


def test_it_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(doctor.runtime, "chosen_cache", lambda: None)
    found, _ = said(capsys, f"--data_dir={tmp_path / 'new'}")
    assert found["compiled"] == f"{tmp_path}/cache/alexnet"
    assert found["data_dir"].startswith(f"{tmp_path / 'new'}, not there yet, ")
    assert list(tmp_path.iterdir()) == []


def test_it_names_what_is_amiss(tmp_path, monkeypatch, capsys):
    (tmp_path / "version").touch()
    monkeypatch.setattr(doctor, "DRIVER", tmp_path / "version")
    monkeypatch.setattr(os, "cpu_count", lambda: 10**6)
    monkeypatch.setattr(doctor, "cpu_count", lambda: 2)
    monkeypatch.setattr(doctor.provenance, "cores", lambda: 2)
    monkeypatch.setattr(doctor.limits, "cores", lambda: 1.5)
    monkeypatch.delenv("PJRT_NPROC", raising=False)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    monkeypatch.setattr(doctor.sys, "platform", "linux")
    _, warned = said(capsys, f"--data_dir={tmp_path}")
    for line, part in zip(
        warned,
        (
            "NVIDIA driver is here, but JAX uses the CPU",
            "of 1000000 cores",
            "the time of 1.5 cores, but XLA works with 2: set PJRT_NPROC=1",
            "mimalloc",
            "written",
        ),
        strict=True,
    ):
        assert line.startswith("warning: ")
        assert part in line


def test_a_sound_machine_has_no_warnings(tmp_path, monkeypatch, capsys):
    gpu = SimpleNamespace(device_kind="H100", platform="gpu", memory_stats=dict, process_index=0)
    monkeypatch.setattr(jax, "devices", lambda: [gpu, gpu])
    monkeypatch.setattr(doctor, "DRIVER", tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr(doctor.provenance, "cores", lambda: 1)
    monkeypatch.setattr(doctor.limits, "cores", lambda: 0.5)  # nothing could be done about it
    found, warned = said(capsys, f"--data_dir={tmp_path}")
    assert found["devices"] == "2 x H100, memory unknown"
    assert warned == []


def test_a_checkout_whose_commit_git_does_not_tell(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(doctor.provenance, "commit", lambda: None)
    monkeypatch.setattr(doctor.provenance, "git_error", lambda: "fatal: dubious ownership")
    found, _ = said(capsys, f"--data_dir={tmp_path}")
    assert found["alexnet"].endswith(", commit unknown (fatal: dubious ownership)")


def test_a_missing_platform_is_one_line_after_the_rest(monkeypatch, capsys):
    def devices():
        raise RuntimeError("no GPU")

    monkeypatch.setattr(jax, "devices", devices)
    with pytest.raises(UserError, match="jax has no device"):
        doctor.main([])
    assert f"numpy {numpy.__version__}" in capsys.readouterr().out
