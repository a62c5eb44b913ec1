"""This project's training step or forward pass for `bench.py`; see `work.py` for the protocol.

    echo '{"task": {"net": "alexnet", "batch": 32, "work": "train", "dtype": "float32"}}' |
        python experiments/benchmarks/jax_contestant.py

The work "check" writes weights to a file and returns logits and loss, to compare with PyTorch's;
"ceilings" measures the rates behind the floor.
This script reads no config and no images, so it needs only JAX, flax, optax and NumPy.
"""

import functools
import platform
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import work

from alexnet.analysis import rates
from alexnet.data.augment import Augmentation
from alexnet.data.statistics import Statistics
from alexnet.devices import mesh as meshes
from alexnet.devices import runtime
from alexnet.kernels.choose import choose, compiler_options
from alexnet.models import network
from alexnet.training import evaluation, forward, optimizer, schedule, step

# bench.py's --dtype: (the net's dtype, the precision of float32 products)
PRECISIONS = {
    "float32": ("float32", "float32"),  # as the configs have it
    "tf32": ("float32", "tensorfloat32"),
    "bfloat16": ("bfloat16", "tensorfloat32"),
}


class Task:
    """A net of `work.NETS` with its parameters, on the device."""

    def __init__(self, task: dict):
        self.task, self.table = task, work.net(task["net"])
        self.dtype, self.precision = PRECISIONS[task["dtype"]]
        size = task["batch"]
        self.mesh = meshes.make(towers=self.table.towers, batch_size=size, data=1, tower=1)
        kernels = choose(task.get("kernels", "auto"), self.mesh, size, self.table.image_size)
        self.how = {"dtype": jnp.dtype(self.dtype), "kernels": kernels}
        self.options = compiler_options(self.mesh, task.get("cuda_graphs", False))
        self.init = functools.partial(network.init, self.table)
        self.shapes = jax.eval_shape(self.init, jax.random.key(0))
        params = meshes.by_tower(self.mesh, self.shapes)
        self.sgd = optimizer.build(params=self.shapes)
        everywhere = meshes.replicated(self.mesh)
        self.shardings = step.state_shardings(self.sgd, self.shapes, params, everywhere)
        self.images, self.labels = work.batch(self.table, size)

    def params(self) -> network.Params:
        """The initial parameters for seed 0."""
        return jax.jit(self.init, out_shardings=self.shardings.params)(jax.random.key(0))

    def check(self) -> dict[str, Any]:
        """Loss and logits of a batch, without dropout; writes the weights to the task's file."""
        shapes = {f"{n}.{p}": a.shape for n, ab in self.shapes.items() for p, a in ab.items()}
        weights = work.weights(shapes)
        np.savez(self.task["weights"], **weights)
        params = {n: {p: weights[f"{n}.{p}"] for p in ab} for n, ab in self.shapes.items()}
        params = jax.device_put(params, self.shardings.params)
        apply = forward.on_mesh(self.table, self.mesh, **self.how)

        def loss(params, x_BHWC, labels_B):
            logits_BK = apply(params, x_BHWC)
            return evaluation.sums(jax.nn.log_softmax(logits_BK), labels_B).loss, logits_BK

        with jax.default_matmul_precision(self.precision):
            program = jax.jit(loss, compiler_options=self.options)
            total, logits_BK = program(params, work.inputs(self.images), self.labels)
        return {"loss": float(total) / len(self.labels), "logits": np.asarray(logits_BK).tolist()}

    def arguments(self) -> tuple[Any, ...]:
        """The arguments of an iteration, on the device; a training step has the state first."""
        place = meshes.batch_sharding(self.mesh)
        if self.task["work"] == "forward":
            return self.params(), jax.device_put(work.inputs(self.images), place)
        state = step.make_init(self.init, self.sgd, self.shardings)(step.key_of(0))
        side = self.table.image_size
        mean = np.full((side, side, 3), work.MEAN, np.float32)
        statistics = Statistics(mean, np.ones(3, np.float32), np.eye(3, dtype=np.float32))
        statistics = jax.device_put(statistics, meshes.replicated(self.mesh))
        rate = schedule.build("milestones", epochs=1, rate=work.RATE)
        batch = jax.device_put({"image": self.images, "label": self.labels}, place)
        now = jax.device_put(rate(0, [], self.shapes), meshes.replicated(self.mesh))
        return state, batch, now, statistics, step.key_of(0)

    def traced(self, arguments: tuple[Any, ...]) -> Any:
        """The iteration, traced for these arguments or their shapes."""
        if self.task["work"] == "forward":
            apply = forward.on_mesh(self.table, self.mesh, **self.how)
            program = jax.jit(apply, compiler_options=self.options)
        else:
            side = self.table.image_size
            plain = Augmentation(side, random_crop=False, flip=False, colour_noise=0)
            logits = forward.training(self.table, self.mesh, plain, **self.how)
            program = step.make_train_step(
                logits, self.sgd, self.shardings, compiler_options=self.options
            )
        with jax.default_matmul_precision(self.precision):
            return program.trace(*arguments)


def build(task: dict) -> work.Ready:
    """Compiles a task, and runs it: on GPUs as a CUDA graph, unless the task says otherwise."""
    if task["work"] == "check":
        return work.Ready(Task(task).check())
    if task["work"] == "ceilings":
        return work.Ready(ceilings(task["dtype"]))
    if on_cpu():
        return compiled(task)
    return compiled({"cuda_graphs": task.get("launch") != "steps"} | task)


def compiled(task: dict) -> work.Ready:
    """Compiles a task, and runs it until it is captured, if it is to be."""
    made = Task(task)
    arguments = made.arguments()
    traced = made.traced(arguments)
    compiling = time.perf_counter()
    program = traced.lower().compile()
    compile_seconds = time.perf_counter() - compiling
    ready = running(program, arguments, carries_state=task["work"] == "train")
    cuda_graphs = task.get("cuda_graphs", False)
    for _ in range(3 if cuda_graphs else 1):  # XLA captures graphs in the second iteration
        ready.start()
        ready.wait()
    ready.said["cuda_graphs"] = "xla_gpu_enable_command_buffer" in made.options
    ready.said.update(compile=compile_seconds, start=time.time() - task.get("started", time.time()))
    ready.said.update(ceilings(task["dtype"]))
    return ready


def running(program: Callable[..., Any], arguments: tuple, carries_state: bool) -> work.Ready:
    """Iterations of a compiled program; a training step passes its state on to the next."""
    state, *rest = arguments
    result = None

    def start() -> None:
        nonlocal state, result
        result = program(state, *rest)
        if carries_state:
            state, result = result

    def wait() -> None:
        jax.block_until_ready((state, result))

    return work.Ready({}, start, wait, None if on_cpu() else functools.partial(memory, program))


def memory(program: Any) -> int:
    """A program's peak bytes on the device, as compiled; the allocator's peak covers all tasks."""
    found = program.memory_analysis()
    kept = found.argument_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
    return kept + found.temp_size_in_bytes


@functools.cache
def ceilings(word: str) -> dict[str, float]:
    """The rates behind the floor: "floor" in FLOP/s of a large product; on GPUs, "copy" in bytes/s.

    Args:
        word: the task's dtype, a key of PRECISIONS.
    """
    if on_cpu():
        return {"floor": rates.matmul_rate()}
    return {"floor": rates.matmul_rate(8192, *PRECISIONS[word]), "copy": copy_rate()}


copy_rate = functools.cache(lambda: rates.copy_rate(2**30))


def on_cpu() -> bool:
    return jax.default_backend() == "cpu"


def about() -> dict[str, Any]:
    """Platform, device and versions."""
    packages = ("jax", "jaxlib", "flax", "optax", "numpy")
    return {
        "platform": "cpu" if on_cpu() else "gpu",
        "device": jax.devices()[0].device_kind,
        "runtime": " ".join(jax.devices()[0].client.platform_version.split()),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
    }


if __name__ == "__main__":
    runtime.cache_compilations()
    work.serve(about(), build)
