"""This project's training step or forward pass, for `bench.py` to time.

    python experiments/benchmarks/jax_contestant.py \
        '{"net": "alexnet", "batch": 32, "work": "train", "dtype": "float32", "started": 0}'

The work "check" writes the weights to a file and gives the loss, so that others can compare theirs.
"""

import functools
import json
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import work

from alexnet.data.augment import Augmentation
from alexnet.data.statistics import Statistics
from alexnet.devices import mesh as meshes
from alexnet.devices import runtime
from alexnet.kernels.choose import choose, compiler_options
from alexnet.models import network
from alexnet.profile import matmul_rate
from alexnet.training import evaluation, forward, optimizer, schedule, setup, step


def main(task: dict) -> None:
    runtime.cache_compilations()
    table, size = work.net(task["net"]), task["batch"]
    mesh = meshes.make(towers=table.towers, batch_size=size, data=1, tower=1)
    kernels = choose("auto", mesh, size, table.image_size)
    how = {"dtype": jnp.dtype(task["dtype"]), "kernels": kernels}
    apply = forward.on_mesh(table, mesh, **how)
    images, labels = work.batch(table, size)
    place = meshes.batch_sharding(mesh)

    init = functools.partial(network.init, table)
    shapes = jax.eval_shape(init, jax.random.key(0))
    sgd = optimizer.build(params=shapes)
    shardings = setup.state_shardings(mesh, sgd, shapes, network.params_specs(table))
    if task["work"] == "train":
        state = step.make_init(init, sgd, shardings)(step.key_of(0))
    else:
        params = jax.jit(init, out_shardings=shardings.params)(jax.random.key(0))
    if task["work"] == "check":
        np.savez(
            task["weights"], **{f"{n}.{p}": a for n, ab in params.items() for p, a in ab.items()}
        )
        log_probs = jax.nn.log_softmax(apply(params, work.inputs(images)))
        work.serve(loss=float(evaluation.sums(log_probs, labels).loss) / size)
        return

    compiling = time.perf_counter()
    if task["work"] == "forward":
        inputs = jax.device_put(work.inputs(images), place)
        net = jax.jit(apply, compiler_options=compiler_options(mesh))
        net = net.lower(params, inputs).compile()
        compile_seconds = time.perf_counter() - compiling

        def run() -> None:
            jax.block_until_ready(net(params, inputs))
    else:
        plain = Augmentation(table.image_size, random_crop=False, flip=False, colour_noise=0)
        mean = np.full((table.image_size,) * 2 + (3,), work.MEAN, np.float32)
        colours = np.ones(3, np.float32), np.eye(3, dtype=np.float32)
        statistics = jax.device_put(Statistics(mean, *colours), meshes.replicated(mesh))
        hyperparameters = schedule.build("milestones", epochs=1, rate=work.RATE)(
            0, [], state.params
        )
        key = step.key_of(0)
        numbers = {"image": jax.device_put(images, place), "label": jax.device_put(labels, place)}
        logits, options = forward.training(table, mesh, plain, **how), compiler_options(mesh)
        train_step = step.make_train_step(logits, sgd, shardings, compiler_options=options)
        with jax.default_matmul_precision("float32"):  # as the configs have it
            train = train_step.lower(state, numbers, hyperparameters, statistics, key).compile()
        compile_seconds = time.perf_counter() - compiling

        def run() -> None:
            nonlocal state
            state, sums = train(state, numbers, hyperparameters, statistics, key)
            jax.block_until_ready((state, sums))

    run()
    start = time.time() - task["started"]
    work.serve(run, floor=matmul_rate(), start=start, compile=compile_seconds)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
