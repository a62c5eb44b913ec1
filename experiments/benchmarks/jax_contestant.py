"""This project's training step or forward pass, for `bench.py` to time.

python experiments/benchmarks/jax_contestant.py '{"net": "alexnet", "batch": 32, "work": "train",
    "started": 0, "weights": "", "dtype": "float32"}'
"""

import functools
import json
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

import work
from alexnet import mesh as meshes
from alexnet import metrics, model, optimizer, platform, schedule, step
from alexnet.augment import Augmentation
from alexnet.data.statistics import Statistics


def matmul_rate(side: int = 2048) -> float:
    """FLOP a second of a matrix product, the best of ten: what the machine can do."""
    product, a = jax.jit(jnp.matmul), jnp.ones((side, side))
    jax.block_until_ready(product(a, a))
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        jax.block_until_ready(product(a, a))
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / min(seconds)


def main(task: dict) -> None:
    platform.tune_allocator()
    platform.cache_compilations()
    table, size = work.net(task["net"]), task["batch"]
    mesh = meshes.make(towers=table.towers, batch_size=size, data=1, tower=1)
    chunk = platform.conv_chunk(-1, table, mesh, size)
    apply = model.on_mesh(table, mesh, chunk, jnp.dtype(task["dtype"]))
    images, labels = work.batch(table, size)

    init = functools.partial(model.init, table)
    sgd = optimizer.momentum_sgd(jax.eval_shape(init, jax.random.key(0)))
    places = step.state_places(mesh, model.params_specs(table))
    state = step.init_state(init, sgd, places, seed=0)
    if task["weights"]:  # for the others: what is timed must be the same function
        flat = {f"{n}.{p}": a for n, parts in state.params.items() for p, a in parts.items()}
        np.savez(task["weights"], **jax.device_get(flat))
    place = meshes.batch_sharding(mesh)
    inputs = jax.device_put((images - np.float32(120)), place)
    loss = jax.jit(lambda params, x, y: metrics.sums(jax.nn.log_softmax(apply(params, x)), y).loss)

    compiling = time.perf_counter()
    if task["work"] == "forward":
        forward = jax.jit(apply).lower(state.params, inputs).compile()
        compile_seconds = time.perf_counter() - compiling

        def run() -> None:
            jax.block_until_ready(forward(state.params, inputs))
    else:
        plain = Augmentation(table.image_size, random_crop=False, flip=False, colour_noise=0)
        train_step = step.make_train_step(apply, sgd, plain, mesh, seed=0)
        mean = np.full((table.image_size,) * 2 + (3,), 120, np.float32)
        colours = np.ones(3, np.float32), np.eye(3, dtype=np.float32)
        statistics = jax.device_put(Statistics(mean, *colours), meshes.replicated(mesh))
        knobs = schedule.build("milestones", rate=0.0001)(0, [], state.params)
        numbers = {"image": jax.device_put(images, place), "label": jax.device_put(labels, place)}
        train = train_step.lower(state, numbers, knobs, statistics).compile()
        compile_seconds = time.perf_counter() - compiling

        def run() -> None:
            nonlocal state
            state, sums = train(state, numbers, knobs, statistics)
            jax.block_until_ready((state, sums))

    first = float(loss(state.params, inputs, labels)) / size if task["weights"] else None
    run()
    start = time.time() - task["started"]
    work.serve(run, floor=matmul_rate(), start=start, loss=first, compile=compile_seconds)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
