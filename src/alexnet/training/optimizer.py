"""Section 5's update rule: v <- 0.9 v - 0.0005 eps w - eps <dL/dw>, w <- w + v.

As an optax chain: add the decayed weights to the gradient, multiply by -eps, keep a trace. The
learning rate eps is inside the velocity, so the old velocity keeps its size when the rate drops;
`optax.sgd` scales the whole velocity by the new rate, and differs from the first drop on. Decay is
multiplied by the rate as well. At rate 0 a layer is frozen: as in the source (`Weights`), neither
its weights nor its velocity change.

`config.optimizer.name` picks the update rule, one of OPTIMIZERS. Decay, per-layer rates and
freezing work with all of them.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax

from alexnet import config as configs
from alexnet.errors import UserError, choice, is_number, nearest, require

Rates = dict[str, dict[str, Any]]  # {layer: {"kernel": eps, "bias": eps}}, scalars

LARGEST = 1e30  # of decays, rates and their factors, whose products with weights are float32

Part: TypeAlias = optax.GradientTransformation
Chain: TypeAlias = optax.GradientTransformationExtraArgs


def momentum(decay: Part, rates: Part, *, momentum: float = 0.9) -> Chain:
    """The paper's: v <- momentum v - eps (g + decay w), w <- w + v.

    Args:
        momentum: the share of its velocity that a weight keeps at each step.
    """
    _check(momentum=momentum)
    velocity = optax.trace(momentum)
    return optax.named_chain(("decay", decay), ("rates", rates), ("momentum", velocity))


def nesterov(decay: Part, rates: Part, *, momentum: float = 0.9) -> Chain:
    """The same velocity, but w <- w + momentum v - eps (g + decay w) with the new v: a step ahead.

    Args:
        momentum: the share of its velocity that a weight keeps at each step.
    """
    _check(momentum=momentum)
    velocity = optax.trace(momentum, nesterov=True)
    return optax.named_chain(("decay", decay), ("rates", rates), ("momentum", velocity))


def adamw(
    decay: Part, rates: Part, *, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> Chain:
    """Adam with decay apart from the gradient's moments (Loshchilov and Hutter, 2019).

    Args:
        b1: the share that the mean of the gradients keeps at each step.
        b2: the share that the mean of their squares keeps at each step.
        eps: added to the root of the mean of squares, which divides the step; not the rate.
    """
    _check(b1=b1, b2=b2)
    require("eps", eps, eps > 0, "must be more than 0")
    adam = optax.scale_by_adam(b1, b2, eps)
    return optax.named_chain(("adam", adam), ("decay", decay), ("rates", rates))


Rule = Callable[..., Chain]  # f(decay, rates, *, the rule's own arguments)
OPTIMIZERS: dict[str, Rule] = {
    "momentum": momentum,
    "nesterov": nesterov,
    "adamw": adamw,
}


def build(
    name: str = "momentum",
    *,
    params: Any,
    weight_decay: float = 0.0005,
    bias_decay: float = 0.0,
    layer_decay: Sequence[tuple[str, float]] = (),
    **options: float,
) -> optax.GradientTransformationExtraArgs:
    """A named optimiser; `config.optimizer` holds these arguments.

    Args:
        name: which update rule the weights follow.
        params: the parameters or their shapes, {layer: {"kernel": ..., "bias": ...}}.
        weight_decay: of every kernel that `layer_decay` does not name. As in the text and the
            source it is a term of the update, which the logged loss leaves out.
        bias_decay: of every bias; the source decays none, the text does not say.
        layer_decay: (layer, decay of its kernel), for single layers (cuda-convnet's `wc`).
        options: the rule's own arguments.

    Returns:
        update(gradients, state, params, rates=Rates) -> (change, state).

    Raises:
        UserError: for an impossible value, or an unknown name, option or layer.
    """
    choice("name", name, OPTIMIZERS)
    configs.check_options(name, OPTIMIZERS[name], options)
    for pair in layer_decay:
        match pair:
            case [str(), value] if is_number(value):
                pass
            case _:
                raise UserError(f"{pair!r} is not (layer, decay)", "layer_decay")
    named = [layer for layer, _ in layer_decay]
    if twice := [layer for layer in named if named.count(layer) > 1]:
        raise UserError(f"{twice[0]!r} is listed twice: keep one", "layer_decay")
    of_layer = dict(layer_decay)
    given = {"weight_decay": weight_decay, "bias_decay": bias_decay} | {
        f"layer_decay[{layer!r}]": value for layer, value in of_layer.items()
    }
    for key, value in given.items():
        require(key, value, 0 <= value <= LARGEST, f"must be 0 or more, up to {LARGEST:g}")
    for layer in of_layer:
        if layer not in params:
            raise UserError(
                f"the net has no layer {layer!r}{nearest(layer, params)}", "layer_decay"
            )
    decays = {
        layer: {"kernel": of_layer.get(layer, weight_decay), "bias": bias_decay} for layer in params
    }
    return _freezing(OPTIMIZERS[name](_decay(decays), _by_rates(), **options))


def _decay(decays: Any) -> Part:
    """Adds to each gradient its parameter times the decay."""

    def decayed(update, param, decay):
        return update + decay * param if decay else update

    def update(updates, state, params=None):
        return jax.tree.map(decayed, updates, params, decays), state

    return optax.GradientTransformation(optax.init_empty_state, update)


def _by_rates() -> Chain:
    """Multiplies by the negative rates, an argument of each `update`."""

    def update(updates, state, params=None, *, rates: Rates):
        return jax.tree.map(lambda update, rate: -rate * update, updates, rates), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)


def _freezing(inner: Chain) -> Chain:
    """At rate 0, neither a parameter nor the state that `inner` keeps of it changes."""

    def update(updates, state, params=None, *, rates: Rates):
        change, new_state = inner.update(updates, state, params, rates=rates)

        def unless_frozen(new, old, rate):
            return jnp.where(rate > 0, new, old)

        rate_of = optax.tree.map_params(
            inner, lambda _, rate: rate, state, rates, transform_non_params=lambda _: 1.0
        )
        kept = jax.tree.map(unless_frozen, new_state, state, rate_of)
        # A velocity is both state and change. Taking the change from the kept state computes it
        # once; otherwise XLA computes it twice, and copies the old velocity to do so.
        same: dict[int, jax.Array] = {
            id(new): frozen
            for new, frozen in zip(jax.tree.leaves(new_state), jax.tree.leaves(kept), strict=True)
        }

        def from_kept(new: jax.Array, rate: jax.Array) -> jax.Array:
            return jnp.where(rate > 0, same.get(id(new), new), 0)

        return jax.tree.map(from_kept, change, rates), kept

    return optax.GradientTransformationExtraArgs(inner.init, update)


def _check(**fractions: float) -> None:
    for name, value in fractions.items():
        require(name, value, 0 <= value < 1, "from 0 up to, not including, 1")
