"""Runs as jobs, by submitit's executor for this machine."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from support.runs import DIGITS
from support.tiny import tiny_config

from alexnet.errors import UserError
from alexnet.sweeps import slurm
from alexnet.sweeps.plan import Item
from alexnet.training.loop import train_and_evaluate
from alexnet.training.setup import load_config
from alexnet.workdir import log


def item(name: str, config, needs: tuple[str, ...] = ()) -> Item:
    return Item(name, name.partition("-")[0], 0, config, needs=needs)


def test_without_submitit_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match=r'--slurm needs submitit: pip install "alexnet\[slurm\]"'):
        slurm.submit([item("a-0", load_config(DIGITS))], tmp_path, 1)


def test_without_slurm_it_says_so(tmp_path):
    pytest.importorskip("submitit")
    with pytest.raises(UserError, match="--slurm: SLURM did not take the jobs"):
        slurm.submit([item("a-0", load_config(DIGITS))], tmp_path, 1)


@pytest.mark.slow
def test_a_job_that_is_preempted_comes_to_the_same_numbers(tmp_path, data_dir, compile_quickly):
    pytest.importorskip("submitit")
    config = tiny_config(data_dir)
    config.checkpoint_every = 2
    history = train_and_evaluate(config, tmp_path / "quiet")
    items = [item("a-0", config), item("b-0", config, needs=("a-0",))]
    [job] = slurm.submit(items, tmp_path, 2, cluster="local")
    assert json.loads((tmp_path / "slurm/jobs.json").read_text()) == {"a-0": job.job_id}
    rows = tmp_path / "a-0/metrics.jsonl"
    end = time.monotonic() + 300
    while not (rows.is_file() and '"step": 8' in rows.read_text()):
        assert time.monotonic() < end
        time.sleep(0.1)
    children = ["pgrep", "-P", str(job._process.pid)]
    [task] = subprocess.run(children, capture_output=True, text=True, check=True).stdout.split()
    os.kill(int(task), signal.SIGUSR2)  # what SLURM sends before it takes a job's machine away
    assert "seconds" in job.result()
    assert log.read_history(tmp_path / "a-0") == history
    provenance = json.loads((tmp_path / "a-0/provenance.json").read_text())
    assert len(provenance) == 2
