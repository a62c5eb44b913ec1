"""Runs a net's table of layers: makes its parameters, and returns logits and named activations.

A device holds one or more towers; each is what one GPU ran in the paper. Parameters carry a leading
tower axis. Local towers run in a Python loop, without grouped convolutions, unless the operations
(`Kernels`) share work between towers. The towers meet only where a row reads "all": conv3, fc6, fc7
and fc8 in the paper. There, towers on one device are concatenated and towers on several devices are
gathered over a mesh axis. This is the only file that uses Flax Linen.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from alexnet.errors import UserError
from alexnet.models import ops, table
from alexnet.models.ops import Padding
from alexnet.text import difference

Params = dict[str, dict[str, jax.Array]]
Activations = dict[str, jax.Array]

Towers = list[jax.Array]  # one array per local tower
# f(xs, kernel_T, bias_T, stride, padding); a locally connected layer passes its size as stride
ConvTowers = Callable[[Towers, jax.Array, jax.Array, int, Padding], Towers]
DenseTowers = Callable[[Towers, jax.Array, jax.Array], Towers]  # f(xs, kernel_T, bias_T)
Pooling = Callable[[jax.Array, int, int], jax.Array]  # f(x_BHWC, size, stride)
# f(x_BHWC, examples_B) runs the rows before the first fully-connected one; examples_B are the
# images' indices in the batch
Stage = Callable[[jax.Array, jax.Array], tuple[Towers, Activations]]


def each_tower(operation: Callable[..., jax.Array]) -> Callable[..., Towers]:
    """f(xs, kernel_T, bias_T, ...): `operation` for every local tower, plus the tower's biases."""

    def towers(xs: Towers, kernel_T: jax.Array, bias_T: jax.Array, *how: Any) -> Towers:
        return [add_bias(operation(x, kernel_T[t], *how), bias_T[t]) for t, x in enumerate(xs)]

    return towers


def add_bias(y: jax.Array, bias: jax.Array) -> jax.Array:
    """y + bias, of the type of `y`, added in at least float32.

    So the bias's gradient, a sum over images and pixels, is not summed in bfloat16.
    """
    wide = jnp.promote_types(y.dtype, jnp.float32)
    return (y.astype(wide) + bias.astype(wide)).astype(y.dtype)


def varying_alike(*arrays: jax.Array) -> list[jax.Array]:
    """The same arrays, all varying over the mesh axes that any of them varies over.

    Inside shard_map, maps differ between the devices that share a batch; kernels and biases do not.
    This cast makes JAX sum the gradients of kernels and biases over those devices, which a custom
    gradient cannot do.
    """
    varying = [jax.typeof(x).manual_axis_type.varying for x in arrays]
    missing = [tuple(frozenset().union(*varying) - axes) for axes in varying]
    return [
        jax.lax.pcast(x, axes, to="varying") if axes else x
        for x, axes in zip(arrays, missing, strict=True)
    ]


def _gathered(x: jax.Array, axis: str) -> jax.Array:
    """The maps or features of all devices on a mesh axis, side by side."""
    return jax.lax.all_gather(x, axis, axis=x.ndim - 1, tiled=True)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _gathered_narrow(x: jax.Array, axis: str) -> jax.Array:
    """`_gathered`; gradients are added in float32, as XLA on CPUs aborts if it adds bfloat16."""
    return _gathered(x, axis)


def _scattered(axis: str, _: None, dy: jax.Array) -> tuple[jax.Array]:
    wide, last = dy.astype(jnp.float32), dy.ndim - 1
    dx = jax.lax.psum_scatter(wide, axis, scatter_dimension=last, tiled=True)
    return (dx.astype(dy.dtype),)


_gathered_narrow.defvjp(lambda x, axis: (_gathered(x, axis), None), _scattered)


def _flat_dense(x: jax.Array, kernel_IO: jax.Array) -> jax.Array:
    return ops.dense(x.reshape(x.shape[0], -1), kernel_IO)


class Kernels(NamedTuple):
    """The operations that compute a net, those of `ops` by default; see `alexnet.kernels`.

    Operations with weights take all local towers at once; the others take one array.
    """

    conv: ConvTowers = each_tower(ops.conv)
    local: ConvTowers = each_tower(ops.local)
    dense: DenseTowers = each_tower(_flat_dense)
    relu: Callable[[jax.Array], jax.Array] = ops.relu
    tanh: Callable[[jax.Array], jax.Array] = ops.tanh
    sigmoid: Callable[[jax.Array], jax.Array] = ops.sigmoid
    none: Callable[[jax.Array], jax.Array] = ops.none
    response_norm: Callable[
        [jax.Array, int, float, float, float, Literal["maps", "space"]], jax.Array
    ] = ops.response_norm
    max_pool: Pooling = ops.max_pool
    avg_pool: Pooling = ops.avg_pool
    global_avg_pool: Callable[[jax.Array], jax.Array] = ops.global_avg_pool
    # f(stage, x_BHWC, examples_B, train): runs the stage over the batch, perhaps in chunks
    stage: Callable[[Stage, jax.Array, jax.Array, bool], tuple[Towers, Activations]] = (
        lambda stage, x_BHWC, examples_B, train: stage(x_BHWC, examples_B)
    )
    # Whether convolutions and local layers compute in the parameters' dtype, not the net's
    wide_convs: bool = False


PLAIN = Kernels()


class Weights(nn.Module):
    """One row's kernel ~ N(0, std) and constant bias (section 5), both [local towers, ...]."""

    layer: table.Layer
    towers: int
    dtype: jnp.dtype | None = None  # None: the parameters' own
    operations: Kernels = PLAIN

    def setup(self) -> None:
        row: Any = self.layer.row  # Weighted: a Conv, Local or Dense
        output = self.layer.output_shape
        shape, bias_shape = row.kernel_shape(self.layer.input_shape, output), row.bias_shape(output)
        normal = functools.partial(_normal, row.std)
        self.kernel = self.param("kernel", normal, (self.towers, *shape))
        constant = nn.initializers.constant(row.bias, jnp.float32)
        self.bias = self.param("bias", constant, (self.towers, *bias_shape))

    def __call__(self, xs: Towers) -> Towers:
        """Each local tower's output for its input [B, H, W, C] or [B, features].

        Towers that read the same maps share one input array.
        """
        row, dtype = self.layer.row, self.dtype or self.kernel.dtype
        if all(x is xs[0] for x in xs):
            xs = [xs[0].astype(dtype)] * len(xs)  # still the same array
        else:
            xs = [x.astype(dtype) for x in xs]
        kernel, bias = self.kernel, self.bias
        if dtype != kernel.dtype:  # devices add up their gradients in the parameters' type
            _, kernel, bias = varying_alike(xs[0], kernel, bias)
        kernel, bias = kernel.astype(dtype), bias.astype(dtype)
        return _WEIGHTED[type(row)](row, self.operations, xs, kernel, bias)


# How each kind of row is computed: f(row, kernels, ...).

_WEIGHTED: dict[type, Callable[[Any, Kernels, Towers, jax.Array, jax.Array], Towers]] = {
    table.Conv: lambda row, kernels, *arrays: kernels.conv(*arrays, row.stride, (row.padding,) * 2),
    table.Local: lambda row, kernels, *arrays: kernels.local(
        *arrays, row.size, ((row.pad, row.pad),) * 2
    ),
    table.Dense: lambda row, kernels, *arrays: kernels.dense(*arrays),
}


def _norm(row: table.Norm, kernels: Kernels, x: jax.Array) -> jax.Array:
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    y = kernels.response_norm(wide, row.size, row.k, row.scale, row.beta, row.over)
    return y.astype(x.dtype)


def _pool(row: table.Pool, kernels: Kernels, x: jax.Array) -> jax.Array:
    pool = kernels.max_pool if row.kind == "max" else kernels.avg_pool
    return pool(x, row.size, row.stride)


_UNWEIGHTED: dict[type, Callable[[Any, Kernels, jax.Array], jax.Array]] = {
    table.Activation: lambda row, kernels, x: getattr(kernels, row.kind)(x),
    table.Norm: _norm,
    table.Pool: _pool,
    table.GlobalPool: lambda row, kernels, x: kernels.global_avg_pool(x),
}


class Network(nn.Module):
    """Interprets a table: a Flax module that takes `train=` and `rngs={"dropout": key}`.

    Its parameters are as this file's `init` makes them. It works in your own training loop, with
    `flax.training.train_state`, any optax optimiser and `nn.tabulate`.

    Attributes:
        net: the table.
        local_towers: how many towers are on this device; 0 for all.
        axis: mesh axis over which the towers are split; None if all are on this device.
        dtype: the dtype that layers compute in; None means the parameters', which the last layer
            always uses. Response norms compute in float32 or wider.
        kernels: the operations.
    """

    net: table.Net
    local_towers: int = 0
    axis: str | None = None
    dtype: jnp.dtype | None = None
    kernels: Kernels = PLAIN

    def setup(self) -> None:
        table.check(self.net)
        for layer in self.net.layers:
            if isinstance(layer.row, table.Weighted):
                wide = layer.row is self.net.weighted[-1] or (
                    self.kernels.wide_convs and not isinstance(layer.row, table.Dense)
                )
                dtype = None if wide else self.dtype
                weights = Weights(layer, self.towers, dtype, self.kernels)
                setattr(self, layer.row.name, weights)

    @property
    def towers(self) -> int:
        """How many towers are on this device."""
        return self.local_towers or self.net.towers

    def __call__(self, x_BHWC: jax.Array, train: bool = False, **more: jax.Array) -> jax.Array:
        """Only the logits; all else as in `activations`."""
        return self.activations(x_BHWC, train, **more)[0]

    def activations(
        self,
        x_BHWC: jax.Array,
        train: bool = False,
        *,
        dropout_key: jax.Array | None = None,
        examples_B: jax.Array | None = None,
    ) -> tuple[jax.Array, Activations]:
        """Runs the table.

        Args:
            x_BHWC: float [B, image_size, image_size, 3], images with the mean subtracted.
            train: whether to apply dropout.
            dropout_key: is used as it is, in place of `rngs={"dropout": key}`, from which Flax
                derives another key.
            examples_B: each image's index in the global batch, so that dropout does not depend on
                how the batch is spread over devices; 0..B-1 if None.

        Returns:
            the logits, and every row's output by name, with the local towers' maps side by side in
            the last axis. If other towers are on other devices, the logits cover only the
            local towers' share of the classes.

        Raises:
            UserError: for pixels that are not floats, or images of another size.
        """
        if not jnp.issubdtype(x_BHWC.dtype, jnp.floating):
            raise UserError("a net reads floats with the mean subtracted", f"x_BHWC={x_BHWC.dtype}")
        size, shape = self.net.image_size, x_BHWC.shape
        if shape[1:] != (size, size, 3):  # some sizes would fit, on a shifted grid
            raise UserError(f"net {self.net.name} reads [B, {size}, {size}, 3]", f"x_BHWC={shape}")
        if examples_B is None:
            examples_B = jnp.arange(x_BHWC.shape[0])
        if not train:
            dropout_key = None
        elif dropout_key is None and any(isinstance(row, table.Dropout) for row in self.net.rows):
            dropout_key = self.make_rng("dropout")
        layers = list(enumerate(self.net.layers))  # a row's number is part of its dropout's key
        dense = (number for number, layer in layers if isinstance(layer.row, table.Dense))
        first_dense = next(dense, len(layers))

        def stage(x_BHWC: jax.Array, examples_B: jax.Array) -> tuple[Towers, Activations]:
            return self._run(layers[:first_dense], [x_BHWC] * self.towers, examples_B, dropout_key)

        x_BHWC = _pixels(self.net.pixels, x_BHWC)
        xs, named = self.kernels.stage(stage, x_BHWC, examples_B, train)
        xs, named_fc = self._run(layers[first_dense:], xs, examples_B, dropout_key)
        logits = jnp.concatenate(xs, -1)
        if self.axis is None:  # together, the towers may have more outputs than classes
            logits = logits[:, : self.net.classes]
            named_fc |= {self.net.rows[-1].name: logits}
        return logits, named | named_fc

    @nn.nowrap
    def _run(
        self,
        layers: Sequence[tuple[int, table.Layer]],
        xs: Towers,
        examples_B: jax.Array,
        dropout_key: jax.Array | None,
    ) -> tuple[Towers, Activations]:
        """Applies numbered layers to the local towers' inputs; a `dropout_key` turns dropout on."""
        named = {}
        for number, layer in layers:
            row = layer.row
            with jax.named_scope(row.name):  # for profiles
                if isinstance(row, table.Weighted):
                    if layer.gathers:
                        xs = [self._all_towers(xs)] * self.towers
                    xs = getattr(self, row.name)(xs)
                elif isinstance(row, table.Norm) and layer.gathers:
                    xs = self._own(_norm(row, self.kernels, self._all_towers(xs)))
                elif isinstance(row, table.Dropout):
                    xs = self._dropout(row, number, xs, dropout_key, examples_B)
                else:
                    xs = [_UNWEIGHTED[type(row)](row, self.kernels, x) for x in xs]
                named[row.name] = jnp.concatenate(xs, -1) if len(xs) > 1 else xs[0]
        return xs, named

    @nn.nowrap
    def _all_towers(self, xs: Towers) -> jax.Array:
        """All towers' maps side by side: the only communication between GPUs (section 3.2)."""
        x = jnp.concatenate(xs, -1) if len(xs) > 1 else xs[0]
        if self.axis is None:
            return x
        if jnp.finfo(x.dtype).bits < 32:
            return _gathered_narrow(x, self.axis)
        return _gathered(x, self.axis)

    @nn.nowrap
    def _own(self, x: jax.Array) -> Towers:
        """The local towers' maps, sliced from those of all towers, [B, H, W, C]."""
        maps, first = x.shape[-1] // self.net.towers, self._first()
        return [
            jax.lax.dynamic_slice_in_dim(x, (first + tower) * maps, maps, axis=3)
            for tower in range(self.towers)
        ]

    @nn.nowrap
    def _first(self) -> int | jax.Array:
        """The number of the first local tower."""
        return 0 if self.axis is None else jax.lax.axis_index(self.axis) * self.towers

    @nn.nowrap
    def _dropout(
        self,
        row: table.Dropout,
        number: int,
        xs: Towers,
        key: jax.Array | None,
        examples_B: jax.Array,
    ) -> Towers:
        keep = 1 - row.rate
        if key is None:
            return xs if row.inverted else [x * keep for x in xs]
        # A key for each row, tower and example: no two share a mask, on any mesh.
        key, first = jax.random.fold_in(key, number), self._first()
        dropped = []
        for tower, x in enumerate(xs):
            tower_key = jax.random.fold_in(key, first + tower)
            keys_B = jax.vmap(jax.random.fold_in, (None, 0))(tower_key, examples_B)
            x = ops.dropout(x, row.rate, keys_B)
            dropped.append(x / keep if row.inverted else x)
        return dropped


def _normal(std: float, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Draws N(0, std) a piece at a time: on CPUs, fc6 in one draw needs 3x its own memory.

    Pieces of one size compile in less time, as another size would be another program.
    """
    count = math.prod(shape[:-1])
    keys = jax.random.split(key, count)
    size = max(size for size in range(1, 257) if count % size == 0)

    def piece(key: jax.Array) -> jax.Array:
        return std * jax.random.normal(key, shape[-1:], jnp.float32)

    return jax.lax.map(piece, keys, batch_size=size if size >= 32 else 256).reshape(shape)


def _pixels(pixels: table.Pixels, x: jax.Array) -> jax.Array:
    if pixels.deviation != (1, 1, 1):
        x = x / jnp.array(pixels.deviation, x.dtype)
    return x[..., ::-1] if pixels.order == "BGR" else x


def init(net: table.Net, key: jax.Array) -> Params:
    """float32 parameters: {layer: {"kernel": [towers, ...], "bias": [towers, ...]}}."""
    image = jnp.zeros((1, net.image_size, net.image_size, 3), jnp.float32)
    return Network(net).init(key, image)["params"]


def check(net: table.Net, params: Any, where: str) -> None:
    """Raises UserError if the shapes of `params`, found in `where`, are not this net's."""
    expected, found = (
        {
            jax.tree_util.keystr(path, simple=True, separator="."): leaf.shape
            for path, leaf in jax.tree.leaves_with_path(tree)
        }
        for tree in (jax.eval_shape(lambda: init(net, jax.random.key(0))), params)
    )
    if line := difference(found, where, expected, f"net {net.name}"):
        raise UserError(line)


def apply(
    net: table.Net,
    params: Params,
    x_BHWC: jax.Array,
    *,
    train: bool = False,
    dropout_key: jax.Array | None = None,
    kernels: Kernels = PLAIN,
) -> tuple[jax.Array, Activations]:
    """Runs all towers on one device; returns (logits_BK, every row's output by name).

    Args:
        params: as from `init`, in any dtype; layers compute in it, response norms in float32 or
            wider.
        x_BHWC: float [B, image_size, image_size, 3], images with the mean subtracted.
        train: whether to apply dropout.
        dropout_key: the source of its randomness; needed only if `train`.
        kernels: the operations; see `alexnet.kernels`.

    Raises:
        UserError: for pixels that are not floats, or images of another size.
    """
    found: Any = Network(net, kernels=kernels).apply(
        {"params": params},
        x_BHWC,
        train,
        dropout_key=dropout_key,
        method="activations",
    )
    return found
