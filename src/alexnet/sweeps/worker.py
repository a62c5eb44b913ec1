"""One process of a sweep: it takes runs from its standard input, one after the other.

Each line of input is a request, each line of output an answer, both JSON. The arguments are the
CPUs that the process may use. Runs in one process share compiled steps. A run's output goes to
`output.txt` in its folder. When the input ends, because the sweep was stopped or killed, the
current run saves a checkpoint and stops.
"""

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

from alexnet import cli, files
from alexnet import config as configs
from alexnet.data import prepare
from alexnet.data.recipe import without_place
from alexnet.devices import runtime
from alexnet.errors import Interrupted, UserError, circumstance, one_line
from alexnet.inference.ensemble import Ensemble
from alexnet.inference.loading import load
from alexnet.logs import tracker
from alexnet.sweeps import plan
from alexnet.sweeps.essence import arm_of
from alexnet.sweeps.workers import Answer, Request
from alexnet.training.loop import train_and_evaluate
from alexnet.training.programs import Programs
from alexnet.training.settings import check_settings, class_count, recipe_of
from alexnet.training.setup import SOME, assemble, setup
from alexnet.training.start import fine_tune
from alexnet.training.watch.divergence import DivergedRun
from alexnet.workdir import provenance, record
from alexnet.workdir.claim import InUse

SPLIT = "validation"  # that evaluations are of
CHOSEN = frozenset(os.environ)  # environment variables that the user has set


def main() -> None:
    """Answers requests until there are no more."""
    if sys.argv[1:] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, map(int, sys.argv[1:]))
    runtime.cache_compilations()
    provenance.commit()  # cached: the commit of the loaded code, whatever comes later
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C, the sweep ends our input
    if hasattr(signal, "SIGUSR2"):  # SLURM may send its notice to us, too; submitit ends our input
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    requests: queue.Queue[Request | None] = queue.Queue()
    programs, asked, answered = Programs(), 0, 0

    def listen() -> None:
        nonlocal asked
        for line in sys.stdin:
            asked += 1
            requests.put(json.loads(line))
        requests.put(None)
        if asked > answered:
            os.kill(os.getpid(), signal.SIGTERM)  # the current run saves a checkpoint first

    threading.Thread(target=listen, daemon=True).start()
    for request in iter(requests.get, None):
        try:
            found = answer(request, programs)
        except Interrupted as stopped:
            sys.exit(128 + stopped.number)
        answered += 1  # before the answer is sent: the next request may follow at once
        print(json.dumps(found), file=answers)
        if found.get("spent"):
            return


def answer(request: Request, programs: Programs) -> Answer:
    """Does what is requested; a job's error is also written to `failure.txt` in its folder.

    Not if another run is using the folder, as that run has not failed.
    """
    began = time.monotonic()
    if "check" in request:
        try:
            config = configs.from_json(request["check"])
            check_settings(config)
            tracker.check(config.wandb_project)
            if request.get("origin"):
                fine_tune.check(config)
            if request.get("dry"):
                with recipe_of(config) as recipe:
                    ready = prepare.is_current(recipe)
                if not ready:
                    assemble(config, class_count(config) or SOME)
                    return {"steps": 0, "prepares": recipe.name}
            run = setup(config)
            if not request.get("elsewhere"):
                run.check_memory()
            if request.get("origin"):
                fine_tune.read_layers(run)
            return {"steps": run.steps}
        except UserError as error:
            return {"error": str(error)}
    folder = Path(request["folder"])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        label(folder)
        _print_to(folder / plan.OUTPUT)
        if "of" in request:
            evaluate(folder, request, programs)
        else:
            train_and_evaluate(configs.from_json(request["config"]), folder, programs)
    except Exception as error:
        known = str(error) if isinstance(error, UserError) else circumstance(error)
        if isinstance(error, DivergedRun):  # `alexnet sweep` gives the advice
            known = error.found
        line = known or f"{type(error).__name__}: {one_line(error)}"
        with contextlib.suppress(OSError):  # a full disk
            said = f"error: {line}" if known else traceback.format_exc()
            print(said, file=sys.stderr, flush=True)
        if not isinstance(error, InUse):
            plan.note_failure(folder, line)
        return {"error": line, "spent": not isinstance(error, UserError)}
    return {"seconds": time.monotonic() - began}


def label(folder: Path) -> None:
    """Sets Weights & Biases' group to the sweep and its tag to the arm, unless the user has.

    A comma would separate tags, and a tag has 64 characters at most.
    """
    tag = arm_of(folder.name).replace(",", ";")[:64]
    names = {"WANDB_RUN_GROUP": folder.parent.name, "WANDB_TAGS": tag}
    os.environ.update({key: name for key, name in names.items() if key not in CHOSEN})


def evaluate(folder: Path, request: Request, programs: Programs) -> None:
    """Averages the outputs of some runs' last checkpoints; writes errors to `evaluation.json`."""
    of, views = request["of"], request["views"]
    runs = [record.run_of(folder.parent / name) for name in of]
    average, found = Ensemble() if len(of) > 1 else None, {}
    steps = []
    for name in of:
        net = load(folder.parent / name, "last")
        steps.append(net.about.step)
        splits = net.splits(_places(request, net.config.data.name), programs)
        if other := splits.changed(SPLIT):
            what = f"{name} was trained with other images: {', '.join(other)}"
            raise UserError(f"{what}: bring them back, or train it anew")
        if average:
            found = average.evaluate(name, 1 / len(of), splits, SPLIT, views)
        else:
            found = splits.evaluate(SPLIT, views)
        print(f"{name}, {views}: top-1 error {found['top1_error']:.2%}", flush=True)
    if average:
        found |= average.means().row()
    found |= {"of": list(of), "runs": runs, "steps": steps, "commit": provenance.commit()}
    files.write_json(files.sealed(found), folder / plan.EVALUATION)


def _places(request: Request, name: str) -> dict[str, str]:
    """Overrides for a run on the dataset `name` that say where its images are now."""
    asked = {"data.data_dir": request["data_dir"]}
    if name != request["name"] and without_place(name) == without_place(request["name"]):
        asked["data.name"] = request["name"]
    return {key: place for key, place in asked.items() if place}


def _print_to(file: Path) -> None:
    """Appends the output of this process, that of C++ libraries included, to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number in (1, 2):
        os.dup2(descriptor, number)
    os.close(descriptor)


if __name__ == "__main__":
    cli.run(main)
