"""Shows what this machine has: versions, devices, cores, datasets; and what is amiss.

    python -m alexnet.doctor [--data_dir=DIR]

For a new machine, or a report of a fault. It trains nothing.
"""

import collections
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

import jax

from alexnet.cli import run, values
from alexnet.data import store
from alexnet.data.recipe import root_dir, stores_dir
from alexnet.devices import limits, runtime
from alexnet.devices.cores import cpu_count
from alexnet.errors import UserError
from alexnet.training.watch.memory import gib, memory_of
from alexnet.workdir import provenance

OPTIONS = {
    "data_dir": (
        "",
        "where datasets are prepared; by default $TFDS_DATA_DIR or ~/tensorflow_datasets",
    ),
}
OPTIONAL = {  # packages that only some work needs, and what for
    "tensorflow": "prepares most of TFDS's datasets",
    "torch": "reads .pth files",
    "matplotlib": "alexnet report",
    "jinja2": "alexnet report",
    "tensorboard": "shows curves",
    "wandb": "config.wandb_project",
    "submitit": "sweep --slurm",
}
DRIVER = Path("/proc/driver/nvidia/version")  # of NVIDIA's GPUs, where there is one


def main(argv: Sequence[str]) -> None:
    """Prints what was found; warnings go to stderr."""
    data = root_dir(values(argv, OPTIONS)["data_dir"])
    show([*about(), *disks(data), *datasets(data)])
    runtime.check_devices()  # now, as its absence may be the fault to report
    show(devices())
    for line in warnings(data):
        print(f"warning: {line}", file=sys.stderr)


def show(lines: Iterable[tuple[str, str]]) -> None:
    """Prints (subject, text) lines."""
    for subject, text in lines:
        print(f"{subject:<9}  {text}")


def about() -> Iterator[tuple[str, str]]:
    """(subject, text) on the program, its packages and the machine."""
    commit = provenance.commit() or f"unknown ({provenance.git_error()})"
    yield "alexnet", f"{provenance.ROOT}, commit {commit}"
    yield "system", f"Python {platform.python_version()}, {platform.platform()}"
    here = provenance.versions() | {name: found for name in OPTIONAL if (found := _version(name))}
    yield "packages", ", ".join(f"{name} {found}" for name, found in here.items())
    lacking = [f"{name} ({why})" for name, why in OPTIONAL.items() if name not in here]
    if lacking:
        yield "without", ", ".join(lacking)
    yield "cores", f"{provenance.cores()} of {os.cpu_count()}"
    yield "allocator", "mimalloc" if uses_mimalloc() else "the system's"


def devices() -> Iterator[tuple[str, str]]:
    """("devices", how many of a kind)."""
    kinds = collections.Counter((device.device_kind, memory_of(device)) for device in jax.devices())
    for (kind, memory), count in kinds.items():
        yield "devices", f"{count} x {kind}, {gib(memory) if memory else 'memory unknown'}"


def disks(data: Path) -> Iterator[tuple[str, str]]:
    """(subject, text) on where commands write."""
    try:
        yield "compiled", f"{runtime.chosen_cache() or runtime.cache_dir()}"
    except RuntimeError:
        yield "compiled", "steps are not kept, as there is no home folder"
    place = next((one for one in (data, *data.parents) if one.is_dir()), None)
    free = f", {gib(shutil.disk_usage(place).free)} free" if place else ""
    yield "data_dir", f"{data}{free}" if place == data else f"{data}, not there yet{free}"


def datasets(data: Path) -> Iterator[tuple[str, str]]:
    """("dataset", what it holds) for each prepared dataset."""
    for folder in sorted(stores_dir(str(data)).glob("*/")):
        try:
            made = store.load_store(folder)
        except UserError as error:
            yield "dataset", f"{error}"
            continue
        if made:
            counts = ", ".join(f"{count:,} {split}" for split, count in made.counts.items())
            yield "dataset", f"{folder.name}: {counts}, {len(made.classes):,} classes"


def warnings(data: Path) -> Iterator[str]:
    """What will disappoint the user."""
    platforms = {device.platform for device in jax.devices()}
    if DRIVER.exists() and platforms == {"cpu"}:
        yield "an NVIDIA driver is here, but JAX uses the CPU: make setup JAX=cuda13 (docs/gpu.md)"
    if cpu_count() < (os.cpu_count() or 1) and not os.environ.get("PJRT_NPROC"):
        yield f"this process may use {cpu_count()} of {os.cpu_count()} cores here"
    quota, used = limits.cores(), provenance.cores()
    if quota > 0 and (fit := max(1, int(quota))) < used:
        yield (
            f"this process's group (a container's, a job's) may use the time of {quota:.3g} cores, "
            f"but XLA works with {used}: set PJRT_NPROC={fit}"
        )
    if sys.platform == "linux" and platforms == {"cpu"} and not uses_mimalloc():
        yield f"without {runtime.MIMALLOC}, training on CPUs is slower: see docs/speed.md"
    if data.is_dir() and not os.access(data, os.W_OK):
        yield f"{data} cannot be written: datasets there can be read, none can be prepared"


def uses_mimalloc() -> bool:
    """Whether this process runs with the allocator that commands choose on Linux."""
    return runtime.LIBRARY in os.environ.get("LD_PRELOAD", "")


def _version(name: str) -> str:
    for one in (name, f"{name}-cpu"):
        try:
            return metadata.version(one)
        except metadata.PackageNotFoundError:
            continue
    return ""


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
