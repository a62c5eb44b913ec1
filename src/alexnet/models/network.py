"""Turns a table into init and apply: logits and every named activation. The only Flax Linen file.

A device holds one or more towers, each the program of one of the paper's GPUs. Parameters carry a
leading tower axis; every layer runs its local towers in a Python loop (no grouped convolutions), or
as one convolution where they read the same maps. The towers meet only where a row reads "all":
conv3, fc6, fc7 and fc8 in the paper. There, towers on one device are concatenated and towers on
several are gathered over the mesh axis "tower".
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.experimental.xla_metadata import set_xla_metadata
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from alexnet.devices import mesh as meshes
from alexnet.devices.runtime import Tuning
from alexnet.errors import UserError
from alexnet.models import ops, table
from alexnet.text import difference

Params = dict[str, dict[str, jax.Array]]
Activations = dict[str, jax.Array]

_PLAIN = Tuning()


class Weights(nn.Module):
    """The kernel and bias of one row: [towers here, ...], N(0, std) and constant (section 5)."""

    layer: table.Layer
    towers: int
    dtype: jnp.dtype | None  # None: the parameters' own
    eigen: bool = False  # see `alexnet.devices.runtime.Tuning`

    def setup(self) -> None:
        row, output = self.layer.row, self.layer.output_shape
        shape, bias_shape = row.kernel_shape(self.layer.input_shape, output), row.bias_shape(output)
        normal = functools.partial(_normal, row.std)
        self.kernel = self.param("kernel", normal, (self.towers, *shape))
        constant = nn.initializers.constant(row.bias)
        self.bias = self.param("bias", constant, (self.towers, *bias_shape))

    def __call__(self, xs: list[jax.Array]) -> list[jax.Array]:
        """What each local tower gives for its input [B, H, W, C] or [B, features].

        Towers that read the same maps are given the same array.
        """
        row, dtype = self.layer.row, self.dtype or self.kernel.dtype
        if all(x is xs[0] for x in xs):
            xs = [xs[0].astype(dtype)] * len(xs)  # still the same array
        else:
            xs = [x.astype(dtype) for x in xs]
        kernel, bias = self.kernel.astype(dtype), self.bias.astype(dtype)
        return _WEIGHTED[type(row)](row, xs, kernel, bias, self.eigen)


# What runs a row with weights: f(row, xs, kernel [towers, ...], bias [towers, ...], eigen) -> ys,
# a list of the local towers' arrays.


def _dense(row: table.Dense, xs, kernel, bias, eigen):
    # One batched product reads the kernels where they are; a tower's slice is a copy.
    x_TBI = jnp.stack([x.reshape(x.shape[0], -1) for x in xs])
    return list(ops.dense(x_TBI, kernel) + bias[:, None])


def _local(row: table.Local, xs, kernel, bias, eigen):
    padding = ((row.pad, row.pad),) * 2
    ys = [ops.local(x, kernel[t], row.size, padding) for t, x in enumerate(xs)]
    return [y + bias[t] for t, y in enumerate(ys)]


def _conv(row: table.Conv, xs, kernel, bias, eigen):
    geometry = (row.stride, (row.padding,) * 2, eigen)
    if all(x is xs[0] for x in xs):  # one convolution with the kernels of all towers
        kernels = jnp.concatenate(list(kernel), -1)
        ys = jnp.split(ops.conv(xs[0], kernels, *geometry), len(xs), -1)
    else:
        ys = [ops.conv(x, kernel[t], *geometry) for t, x in enumerate(xs)]
    return [ops.add_bias(y, bias[t]) for t, y in enumerate(ys)]


_WEIGHTED = {table.Conv: _conv, table.Local: _local, table.Dense: _dense}


class Network(nn.Module):
    """Interprets a table for the towers on this device.

    Attributes:
        net: the table.
        local: number of towers on this device.
        axis: mesh axis along which the other towers are, or None if all are here.
        tuning: for speed and memory.
        dtype: of kernels and activations while they are computed with. Parameters, response norms,
            the last layer and so the logits are float32 always; products of fully-connected layers
            are summed in float32.
    """

    net: table.Net
    local: int
    axis: str | None = None
    dtype: jnp.dtype | None = None
    tuning: Tuning = _PLAIN

    def setup(self) -> None:
        for layer in table.layers(self.net):
            if isinstance(layer.row, table.Weighted):
                wide = layer.row is self.net.rows[-1] or (
                    self.tuning.wide_convs and not isinstance(layer.row, table.Dense)
                )
                dtype = None if wide else self.dtype
                weights = Weights(layer, self.local, dtype, self.tuning.eigen)
                setattr(self, layer.row.name, weights)

    def __call__(
        self,
        x_BHWC: jax.Array,
        *,
        train: bool = False,
        dropout_key: jax.Array | None = None,
        examples_B: jax.Array | None = None,
    ) -> tuple[jax.Array, Activations]:
        """Runs the table.

        Args:
            x_BHWC: float32 images with the mean subtracted.
            train: whether dropout drops.
            dropout_key: needed when `train` and the table has dropout.
            examples_B: each image's number in the global batch, so that dropout does not depend on
                how the batch is spread over devices; 0..B-1 if None.

        Returns:
            logits of the local towers' share of the classes, and the output of every row by name,
            the local towers' maps side by side in the last axis.
        """
        if examples_B is None:
            examples_B = jnp.arange(x_BHWC.shape[0])
        rows = self.net.rows
        first_dense = next(i for i, row in enumerate(rows) if isinstance(row, table.Dense))
        run = functools.partial(self._run, train=train, dropout_key=dropout_key)

        x_BHWC = _pixels(self.net.pixels, x_BHWC)
        batch, chunk = x_BHWC.shape[0], self.tuning.conv_chunk
        whole = chunk == 0 or chunk >= batch  # in this order: an exported batch has no number

        def stage(x_BHWC: jax.Array, examples_B: jax.Array):
            return run(rows[:first_dense], [x_BHWC] * self.local, 0, examples_B)

        if self.tuning.separate_gradient and train and not whole:
            stage = _compiled_separately(stage)
        pieces = []
        # A Python loop: lax.scan would stack what each chunk keeps for its gradient, a copy.
        for start in [0] if whole else range(0, batch, chunk):
            piece = slice(None) if whole else slice(start, start + chunk)
            pieces.append(stage(x_BHWC[piece], examples_B[piece]))
        xs = [_join(parts) for parts in zip(*(xs for xs, _ in pieces), strict=True)]
        named = {name: _join([seen[name] for _, seen in pieces]) for name in pieces[0][1]}
        xs, named_fc = run(rows[first_dense:], xs, first_dense, examples_B)
        return jnp.concatenate(xs, -1), named | named_fc

    def _run(self, rows, xs, first_row, examples_B, train, dropout_key):
        """Applies `rows` to the list of the local towers' inputs."""
        named = {}
        for number, row in enumerate(rows, first_row):
            with jax.named_scope(row.name):  # for profiles
                if isinstance(row, table.Weighted):
                    layer = getattr(self, row.name)
                    if layer.layer.input_shape[-1] > xs[0].shape[-1]:
                        xs = [self._all_towers(xs)] * self.local
                    xs = layer(xs)
                elif isinstance(row, table.Norm) and row.reads == "all" and self.net.towers > 1:
                    xs = self._own(_norm(row, self._all_towers(xs)))
                elif isinstance(row, table.Dropout):
                    key = jax.random.fold_in(dropout_key, number) if train else None
                    xs = self._dropout(row, xs, key, examples_B)
                else:
                    xs = [_UNWEIGHTED[type(row)](row, x) for x in xs]
                named[row.name] = jnp.concatenate(xs, -1) if len(xs) > 1 else xs[0]
        return xs, named

    def _all_towers(self, xs: list[jax.Array]) -> jax.Array:
        """Section 3.2: the only places where the GPUs communicate."""
        x = jnp.concatenate(xs, -1) if len(xs) > 1 else xs[0]
        if self.axis is None:
            return x
        return jax.lax.all_gather(x, self.axis, axis=x.ndim - 1, tiled=True)

    def _own(self, x: jax.Array) -> list[jax.Array]:
        """The local towers' maps out of all towers' [B, H, W, C]."""
        maps = x.shape[-1] // self.net.towers
        first = 0 if self.axis is None else jax.lax.axis_index(self.axis) * self.local
        return [
            jax.lax.dynamic_slice_in_dim(x, (first + tower) * maps, maps, axis=3)
            for tower in range(self.local)
        ]

    def _dropout(self, row: table.Dropout, xs, key, examples_B):
        keep = 1 - row.rate
        if key is None:
            return xs if row.inverted else [x * keep for x in xs]
        # A key for each tower and each example: no two share a mask, on any mesh.
        first = 0 if self.axis is None else jax.lax.axis_index(self.axis) * self.local
        masked = []
        for tower, x in enumerate(xs):
            tower_key = jax.random.fold_in(key, first + tower)
            keys = jax.vmap(jax.random.fold_in, (None, 0))(tower_key, examples_B)
            bernoulli = functools.partial(jax.random.bernoulli, p=keep, shape=x.shape[1:])
            mask = jax.vmap(bernoulli)(keys)
            masked.append(jnp.where(mask, x / keep if row.inverted else x, 0))
        return masked


def _normal(std: float, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """N(0, std), some rows at a time: on CPUs to draw all of fc6 takes three times its memory."""
    keys = jax.random.split(key, math.prod(shape[:-1]))

    def row(key: jax.Array) -> jax.Array:
        return std * jax.random.normal(key, shape[-1:])

    return jax.lax.map(row, keys, batch_size=256).reshape(shape)


def _compiled_separately(stage: Callable[..., Any]) -> Callable[..., Any]:
    """`stage`, compiled apart from its gradient, which then gets only what it asks to be kept.

    Else XLA on CPUs finds what the gradient computes again in the forward pass, and keeps all of
    it: a step of AlexNet's 128 images then takes 1.9 GB beside its state, and 0.9 like this.
    """

    def inlined(*args):
        # Without this, what is jitted within, such as jnp.where, would not be fused.
        with set_xla_metadata(inlineable="true"):
            return stage(*args)

    return set_xla_metadata(inlineable="false")(jax.jit(inlined))


def _join(parts: list[jax.Array]) -> jax.Array:
    return jnp.concatenate(parts) if len(parts) > 1 else parts[0]


def _pixels(pixels: table.Pixels, x: jax.Array) -> jax.Array:
    if pixels.deviation != (1, 1, 1):
        x = x / jnp.array(pixels.deviation, x.dtype)
    return x[..., ::-1] if pixels.order == "BGR" else x


def _norm(row: table.Norm, x: jax.Array) -> jax.Array:
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    y = ops.response_norm(wide, row.size, row.k, row.scale, row.beta, row.over)
    return y.astype(x.dtype)


def _pool(row: table.Pool, x: jax.Array) -> jax.Array:
    return (ops.max_pool if row.kind == "max" else ops.avg_pool)(x, row.size, row.stride)


_UNWEIGHTED: dict[type, Callable[[Any, jax.Array], jax.Array]] = {
    table.Activation: lambda row, x: getattr(ops, row.kind)(x),
    table.Norm: _norm,
    table.Pool: _pool,
    table.GlobalPool: lambda row, x: ops.global_avg_pool(x),
}


def init(net: table.Net, key: jax.Array) -> Params:
    """Parameters of all towers: {layer: {"kernel": [towers, ...], "bias": [towers, ...]}}."""
    image = jnp.zeros((1, net.image_size, net.image_size, 3))
    return Network(net, net.towers).init(key, image)["params"]


def check(net: table.Net, params: Any, where: str) -> None:
    """Raises UserError if the parameters, found `where`, are not of this net's shapes."""
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
    conv_chunk: int = 0,
) -> tuple[jax.Array, Activations]:
    """All towers on one device: (logits_BK, every row's output by name). See `Network`."""
    network = Network(net, net.towers, tuning=Tuning(conv_chunk))
    logits, named = network.apply({"params": params}, x_BHWC, train=train, dropout_key=dropout_key)
    return logits[:, : net.classes], named


def params_specs(net: table.Net) -> dict[str, Any]:
    """What the mesh divides of each parameter: its towers."""
    weighted = [row.name for row in net.weighted]
    return {name: {"kernel": P("tower"), "bias": P("tower")} for name in weighted}


def on_mesh(
    net: table.Net,
    mesh: Mesh,
    dtype: jnp.dtype | None = None,
    tuning: Tuning = _PLAIN,
) -> Callable[..., jax.Array]:
    """`apply` over a mesh (data, tower): f(params, x_BHWC[, dropout_key, examples_B]) -> logits_BK.

    Without a key nothing is dropped. `examples_B` is each image's number in the batch, 0..B-1 if
    None. Images are split over "data" and parameters over "tower"; the logits come out split over
    both. Take the loss and the gradient OUTSIDE: inside shard_map the gradients would be summed
    over the towers once too often.
    """
    towers_apart = mesh.shape["tower"] > 1
    local = net.towers // mesh.shape["tower"]
    specs = params_specs(net)
    axis = "tower" if towers_apart else None
    network = Network(net, local, axis, dtype, tuning)

    def here(params, x_BHWC, *dropout):
        dropout_key, examples_B = dropout or (None, None)
        logits, _ = network.apply(
            {"params": params},
            x_BHWC,
            train=bool(dropout),
            dropout_key=dropout_key,
            examples_B=examples_B,
        )
        return logits

    def everywhere(params, x_BHWC, dropout_key=None, examples_B=None):
        dropout, dropout_specs = (), ()
        if dropout_key is not None:
            if examples_B is None:
                examples_B = jnp.arange(x_BHWC.shape[0])
            dropout, dropout_specs = (dropout_key, examples_B), (P(), P("data"))
        logits = meshes.split(
            mesh,
            here,
            in_specs=(specs, P("data"), *dropout_specs),
            out_specs=P("data", "tower"),
        )(params, x_BHWC, *dropout)
        return logits[:, : net.classes]

    return everywhere
