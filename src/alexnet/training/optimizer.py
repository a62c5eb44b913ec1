"""Section 5's update rule: v <- 0.9 v - 0.0005 eps w - eps <dL/dw>, w <- w + v.

The learning rate eps is inside the velocity, so after a drop of the rate old velocity keeps its
size; `optax.sgd` scales the whole velocity by the new rate and is not the same from the first drop
on. Decay is multiplied by the rate, too. At rate 0 a layer is frozen: as in the source (`Weights`),
neither its weights nor its velocity change.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from alexnet.errors import UserError, nearest, require

Rates = dict[str, dict[str, Any]]  # {layer: {"kernel": eps, "bias": eps}}, scalars


def momentum_sgd(
    params: Any,
    *,
    momentum: float = 0.9,
    weight_decay: float = 0.0005,
    bias_decay: float = 0.0,
    layer_decay: Sequence[tuple[str, float]] = (),
) -> optax.GradientTransformationExtraArgs:
    """The paper's optimiser; `config.optimizer` holds these arguments.

    Args:
        params: the parameters or their shapes, {layer: {"kernel": ..., "bias": ...}}.
        momentum: 0.9.
        weight_decay: of every kernel that `layer_decay` does not name. As in the text and the
            source it is not a regulariser added to the loss but a term of the update.
        bias_decay: the source decays no bias; the text does not say.
        layer_decay: (layer, weight decay) of single layers (cuda-convnet's `wc`).

    Returns:
        update(gradients, velocity, params, rates=Rates) -> (change, velocity).

    Raises:
        UserError: for an impossible value or an unknown layer.
    """
    for pair in layer_decay:
        match pair:
            case [str(), int() | float()]:
                pass
            case _:
                raise UserError(f"config.optimizer.layer_decay: {pair!r} is not (layer, decay)")
    layer_decay = dict(layer_decay)
    require("optimizer.momentum", momentum, 0 <= momentum < 1, "from 0 up to, not including, 1")
    given = {"weight_decay": weight_decay, "bias_decay": bias_decay} | {
        f"layer_decay[{name!r}]": value for name, value in layer_decay.items()
    }
    for name, value in given.items():
        require(f"optimizer.{name}", value, value >= 0, "must be 0 or more")
    for name in layer_decay:
        if name not in params:
            raise UserError(
                f"config.optimizer.layer_decay: the net has no layer {name!r}"
                f"{nearest(name, params)}"
            )
    decays = {
        name: {"kernel": layer_decay.get(name, weight_decay), "bias": bias_decay} for name in params
    }

    def init(params):
        return jax.tree.map(jnp.zeros_like, params)

    def update(gradients, velocity, params, *, rates: Rates):
        def new_velocity(v, w, gradient, decay, rate):
            moved = momentum * v - rate * (gradient + decay * w)
            return jnp.where(rate > 0, moved, v)

        velocity = jax.tree.map(new_velocity, velocity, params, gradients, decays, rates)
        change = jax.tree.map(lambda v, rate: jnp.where(rate > 0, v, 0), velocity, rates)
        return change, velocity

    return optax.GradientTransformationExtraArgs(init, update)
