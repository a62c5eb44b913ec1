"""A signal in each phase of a real process: it ends as it says, and the same command goes on.

`--faults=N` sends N, `--faults-seed=N` repeats what a failure printed.
"""

import signal
import subprocess
import time

import pytest
from support import phased, smallest
from support.killed import PROGRAM, Processes, trained

SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP")
SECONDS = 120  # for an end; the machine may be busy


@pytest.mark.slow
@pytest.mark.faults(20)
def test_a_signal_in_each_phase(compile_quickly, tmp_path, faults, random):
    config, ended = smallest.config(tmp_path), []
    argv = ["train", f"--config={config}"]
    Processes(tmp_path).run([*argv, f"--workdir={tmp_path}/undisturbed"])
    expected = trained(tmp_path / "undisturbed")
    for number in range(faults):
        wanted = phased.PHASES[number % len(phased.PHASES)]
        sent = signal.Signals[random.choice(SIGNALS)]
        workdir, marks = tmp_path / str(number), tmp_path / f"marks{number}"
        command = [*PROGRAM, str(marks), *argv, f"--workdir={workdir}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while process.poll() is None and phased.phase(marks) != wanted:
            time.sleep(0.005)
        time.sleep(random.uniform(0, 0.3))
        process.send_signal(sent)
        _, errors = process.communicate(timeout=SECONDS)
        what = f"{sent.name} in {wanted}: {process.returncode}: {errors[-300:]!r}"
        # Python itself ends by the signal before the run begins, and while it exits.
        assert process.returncode in (0, 128 + sent, -sent), what
        assert b"Traceback" not in errors or wanted in ("import", "exit"), what
        ended.append((wanted, sent.name, process.returncode))
        Processes(tmp_path).run([*argv, f"--workdir={workdir}"])
        assert trained(workdir) == expected, what
    print(ended)
