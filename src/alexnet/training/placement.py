"""Where the training state lies on the mesh."""

from typing import Any

import jax
import optax
from jax.sharding import Mesh

from alexnet.devices import mesh as meshes
from alexnet.training.step import TrainState


def state_shardings(
    mesh: Mesh, optimizer: optax.GradientTransformation, shapes: Any, specs: Any
) -> TrainState:
    """The state's shardings: parameters as `specs` say, the optimiser's state as its parameters."""
    params, everywhere = meshes.shardings(mesh, specs), meshes.replicated(mesh)
    opt_state = optax.tree.map_params(
        optimizer,
        lambda _, sharding: sharding,
        jax.eval_shape(optimizer.init, shapes),
        params,
        transform_non_params=lambda _: everywhere,
    )
    return TrainState(everywhere, params, opt_state)
