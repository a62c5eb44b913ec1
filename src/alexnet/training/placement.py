"""Where on the mesh the state of training lies."""

from typing import Any

import jax
import optax
from jax.sharding import Mesh

from alexnet.devices import mesh as meshes
from alexnet.training.step import TrainState


def state_shardings(
    mesh: Mesh, optimizer: optax.GradientTransformation, shapes: Any, specs: Any
) -> TrainState:
    """Parameters lie as their `specs` say, what the optimiser keeps of them with them."""
    params, everywhere = meshes.shardings(mesh, specs), meshes.replicated(mesh)
    opt_state = optax.tree.map_params(
        optimizer,
        lambda _, sharding: sharding,
        jax.eval_shape(optimizer.init, shapes),
        params,
        transform_non_params=lambda _: everywhere,
    )
    return TrainState(everywhere, params, opt_state)
