"""From stored images to logits on the devices: augmentation and net in one `jax.shard_map`.

Training, evaluation and export all go through here. Images are split over the mesh axis "data" and
parameters over "tower"; the logits come out split over both. Take the loss and the gradient
OUTSIDE: inside shard_map the gradients would be summed over the towers once too often.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from alexnet.data import augment
from alexnet.data.augment import Augmentation
from alexnet.devices import mesh as meshes
from alexnet.models import table
from alexnet.models.network import PLAIN, Kernels, Network
from alexnet.training.step import EvaluationForward, TrainingForward

# f(x_B, examples_B, *given) -> the net's input
Inputs = Callable[..., jax.Array]


def on_mesh(
    net: table.Net,
    mesh: Mesh | None = None,
    dtype: jnp.dtype | None = None,
    kernels: Kernels = PLAIN,
    inputs: Inputs | None = None,
) -> Callable[..., jax.Array]:
    """f(params, x_B[, dropout_key, examples_B, *given]) -> logits_BK, equal to `network.apply`'s.

    Without a key there is no dropout. `examples_B` is each image's number in the batch, 0..B-1 if
    None. `inputs(x_B, examples_B, *given)` makes the net's input; without it, the input is x_B.
    Without a mesh everything runs on one device.
    """
    apart = mesh.shape["tower"] if mesh else 1
    axis = "tower" if apart > 1 else None
    network = Network(net, net.towers // apart, axis, dtype, kernels)

    def here(params, x_B, dropout_key, examples_B, *given):
        if inputs is not None:
            with jax.named_scope("augment"):
                x_B = inputs(x_B, examples_B, *given)
        train = dropout_key is not None
        rest = {"dropout_key": dropout_key, "examples_B": examples_B}
        return network.apply({"params": params}, x_B, train, **rest)

    def apply(params, x_B, dropout_key=None, examples_B=None, *given):
        if examples_B is None:
            examples_B = jnp.arange(x_B.shape[0])
        arguments = params, x_B, dropout_key, examples_B, *given
        same = (P(),) * len(given)
        in_specs = (P("tower"), P("data"), P(), P("data"), *same)
        logits = meshes.split(mesh, here, in_specs, P("data", "tower"))(*arguments)
        return logits[:, : net.classes]

    return apply


def training(
    net: table.Net, mesh: Mesh | None, augmentation: Augmentation, **how: Any
) -> TrainingForward:
    """f(params, images_BSSC, key, examples_B, noise_on, statistics) -> logits_BK.

    The logits are of one random view of each uint8 image, with dropout; `how` goes to `on_mesh`.
    """

    def inputs(images_BSSC, examples_B, key, noise_on, statistics):
        return augment.training_inputs(
            images_BSSC, key, augmentation, statistics, noise_on, examples_B
        )

    apply = on_mesh(net, mesh, inputs=inputs, **how)

    def forward(params, images_BSSC, key, examples_B, noise_on, statistics):
        augment_key, dropout_key = jax.random.split(key)
        given = augment_key, noise_on, statistics
        return apply(params, images_BSSC, dropout_key, examples_B, *given)

    return forward


def evaluation(
    net: table.Net,
    mesh: Mesh | None,
    augmentation: Augmentation,
    views: str = "centre",
    **how: Any,
) -> EvaluationForward:
    """f(params, images_BSSC, statistics, view) -> logits_BK of one of the fixed `views`.

    `view` may be an array, so that all views share one program.
    """

    def inputs(images_BSSC, examples_B, view, statistics):
        return augment.evaluation_inputs(images_BSSC, augmentation, statistics, views, view)

    apply = on_mesh(net, mesh, inputs=inputs, **how)

    def forward(params, images_BSSC, statistics, view):
        return apply(params, images_BSSC, None, None, view, statistics)

    return forward
