"""The collectives in the compiled training gradient of the full-size net, by scheme.

    python experiments/benchmarks/collectives.py

Nothing is run: this script compiles each training gradient for virtual CPU devices and reads its
collectives from the program. Sizes are those of each collective's results on one device;
docs/scaling.md compares them with the arithmetic.
"""

import functools
import math
import re

import checkout  # noqa: F401  before the package
import jax
import jax.numpy as jnp

from alexnet.devices import mesh as meshes
from alexnet.models import network
from alexnet.models.build import build
from alexnet.training import forward

SCHEMES = {  # name: towers, batch, (data, tower)
    "two towers on 2 devices": (2, 128, (1, 2)),
    "two towers on 4 devices": (2, 128, (2, 2)),
    "one tower, data parallel on 4": (1, 512, (4, 1)),
}
COLLECTIVE = re.compile(
    r"= (?P<results>.*?) (?P<kind>all-\w+|reduce-scatter|collective-\w+)(?:-start)?\("
)


def compiled_gradient(towers: int, batch: int, mesh_shape: tuple[int, int]) -> str:
    """The HLO of the training gradient of AlexNet (preset original, 1000 classes)."""
    net = build("alexnet", classes=1000, towers=towers)
    data, tower = mesh_shape
    mesh = meshes.make(towers=towers, batch_size=batch, data=data, tower=tower)
    apply = forward.on_mesh(net, mesh)

    def mean_loss(params, x_BHWC, labels_B):
        log_probs_BK = jax.nn.log_softmax(apply(params, x_BHWC, jax.random.key(0)))
        return -jnp.take_along_axis(log_probs_BK, labels_B[:, None], axis=1).mean()

    params = jax.eval_shape(functools.partial(network.init, net), jax.random.key(0))
    places = meshes.by_tower(mesh, params)
    inputs = (
        jax.ShapeDtypeStruct(shape, dtype, sharding=meshes.batch_sharding(mesh))
        for shape, dtype in (((batch, 224, 224, 3), jnp.float32), ((batch,), jnp.int32))
    )
    gradient = jax.jit(jax.grad(mean_loss), out_shardings=places)
    return gradient.lower(meshes.shapes(params, places), *inputs).compile().as_text()


def results(hlo: str) -> dict[str, list[int]]:
    """Bytes of every collective's results, by kind; all arrays here are 4 bytes a number."""
    found = {}
    for match in COLLECTIVE.finditer(re.sub(r"/\*.*?\*/", "", hlo)):
        shapes = re.findall(r"\w+\[([\d,]*)\]", match["results"])
        numbers = sum(math.prod(int(n) for n in shape.split(",") if n) for shape in shapes)
        found.setdefault(match["kind"], []).append(4 * numbers)
    return found


def main() -> None:
    """Prints a line for each scheme."""
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 4)
    print(f"{'MiB per device and step':32}{'batch':>6}{'all':>8}  by kind")
    for name, (towers, batch, mesh_shape) in SCHEMES.items():
        found = results(compiled_gradient(towers, batch, mesh_shape))
        kinds = ", ".join(
            f"{len(sizes)} {kind} {sum(sizes) / 2**20:.1f}" for kind, sizes in found.items()
        )
        total = sum(map(sum, found.values())) / 2**20
        print(f"{name:32}{batch:6}{total:8.1f}  {kinds}")


if __name__ == "__main__":
    main()
