"""The paper's definitions in plain float64 numpy, slow and obvious: what the tests compare with.

Nothing here imports alexnet or JAX. Layouts are the project's: images NHWC, kernels HWIO,
parameters {layer: {"kernel": [towers, ...], "bias": [towers, ...]}}. Each gradient goes through
the outputs one by one and gives every input that an output has read its share of dy, the gradient
with respect to the outputs; `test_reference.py` compares them with slopes.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Params = dict[str, dict[str, Array]]


def conv(x: Array, kernel: Array, stride: int = 1, pad: tuple[int, int] = (0, 0)) -> Array:
    """Each output is the sum over a patch times a kernel."""
    x = np.pad(x, ((0, 0), pad, pad, (0, 0)))
    size = kernel.shape[0]
    side = (x.shape[1] - size) // stride + 1
    out = np.zeros((x.shape[0], side, side, kernel.shape[-1]))
    for i in range(side):
        for j in range(side):
            patch = x[:, i * stride : i * stride + size, j * stride : j * stride + size]
            out[:, i, j] = np.tensordot(patch, kernel, 3)
    return out


def conv_gradient(
    x: Array, kernel: Array, dy: Array, stride: int = 1, pad: tuple[int, int] = (0, 0)
) -> tuple[Array, Array]:
    """(dx, dkernel)."""
    before, side = pad[0], x.shape[1]
    x = np.pad(x, ((0, 0), pad, pad, (0, 0)))
    dx, dkernel, size = np.zeros_like(x), np.zeros_like(kernel), kernel.shape[0]
    for i in range(dy.shape[1]):
        for j in range(dy.shape[2]):
            rows = slice(i * stride, i * stride + size)
            columns = slice(j * stride, j * stride + size)
            dx[:, rows, columns] += np.tensordot(dy[:, i, j], kernel, (1, 3))
            dkernel += np.tensordot(x[:, rows, columns], dy[:, i, j], (0, 0))
    inside = slice(before, before + side)
    return dx[:, inside, inside], dkernel


def local(x: Array, kernel_HWKIO: Array, size: int, pad: int = 0) -> Array:
    """The same with a kernel of its own at each position, stride 1."""
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    height, width, _, channels, kernels = kernel_HWKIO.shape
    out = np.zeros((x.shape[0], height, width, kernels))
    for i in range(height):
        for j in range(width):
            kernel = kernel_HWKIO[i, j].reshape(size, size, channels, kernels)
            out[:, i, j] = np.tensordot(x[:, i : i + size, j : j + size], kernel, 3)
    return out


def local_gradient(
    x: Array, kernel_HWKIO: Array, dy: Array, size: int, pad: int = 0
) -> tuple[Array, Array]:
    """(dx, dkernel)."""
    side = x.shape[1]
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    height, width, _, channels, kernels = kernel_HWKIO.shape
    dx, dkernel = np.zeros_like(x), np.zeros_like(kernel_HWKIO)
    for i in range(height):
        for j in range(width):
            kernel = kernel_HWKIO[i, j].reshape(size, size, channels, kernels)
            there = (slice(None), slice(i, i + size), slice(j, j + size))
            dx[there] += np.tensordot(dy[:, i, j], kernel, (1, 3))
            dkernel[i, j] = np.tensordot(x[there], dy[:, i, j], (0, 0)).reshape(dkernel[i, j].shape)
    inside = slice(pad, pad + side)
    return dx[:, inside, inside], dkernel


def norm(
    x: Array, size: int, k: float, scale: float, beta: float = 0.75, over: str = "maps"
) -> Array:
    """Section 3.3: a / (k + scale * sum of a^2 over the neighbours that exist) ^ beta."""
    squares = np.zeros_like(x)
    for here, near in neighbourhoods(x.shape, size, over):
        axes = tuple(a for a in range(4) if isinstance(here[a], int))
        squares[here] = (x[near] ** 2).sum(axes)
    return x / (k + scale * squares) ** beta


def norm_gradient(
    x: Array, dy: Array, size: int, k: float, scale: float, beta: float = 0.75, over: str = "maps"
) -> Array:
    """dx: b = a s^-beta, where s holds each neighbour's square, its own among them."""
    dx = np.zeros_like(x)
    for here, near in neighbourhoods(x.shape, size, over):
        axes = tuple(a for a in range(4) if isinstance(here[a], int))
        s = k + scale * (x[near] ** 2).sum(axes)
        dx[here] += dy[here] * s**-beta
        ds = dy[here] * x[here] * -beta * s ** (-beta - 1)
        dx[near] += np.expand_dims(ds, axes) * scale * 2 * x[near]
    return dx


def neighbourhoods(shape: tuple[int, ...], size: int, over: str) -> list[tuple[tuple, tuple]]:
    """(an activation's index, its neighbours' slices), for all images at once."""
    _, height, width, maps = shape
    every = slice(None)

    def near(at: int, count: int) -> slice:
        return slice(max(0, at - size // 2), min(count, at + size // 2 + 1))

    if over == "maps":
        return [((every,) * 3 + (i,), (every,) * 3 + (near(i, maps),)) for i in range(maps)]
    return [
        ((every, i, j, every), (every, near(i, height), near(j, width), every))
        for i in range(height)
        for j in range(width)
    ]


def windows(side: int, size: int, stride: int) -> list[slice]:
    """Windows from the left edge until the map is covered; the last may hang over."""
    starts = [0]
    while starts[-1] + size < side:
        starts.append(starts[-1] + stride)
    return [slice(start, min(start + size, side)) for start in starts]


def pool(x: Array, size: int = 3, stride: int = 2, f: Callable = np.max) -> Array:
    """f (np.max, np.mean) of what each window holds."""
    rows, columns = (windows(side, size, stride) for side in x.shape[1:3])
    return np.stack([np.stack([f(x[:, i, j], (1, 2)) for j in columns], 1) for i in rows], 1)


def max_pool_gradient(x: Array, dy: Array, size: int, stride: int) -> Array:
    """Each window's gradient goes to its first maximum in row-major order."""
    dx = np.zeros_like(x)
    batch, _, _, maps = x.shape
    for i, rows in enumerate(windows(x.shape[1], size, stride)):
        for j, columns in enumerate(windows(x.shape[2], size, stride)):
            for b in range(batch):
                for m in range(maps):
                    window = x[b, rows, columns, m]
                    row, column = np.unravel_index(window.argmax(), window.shape)
                    dx[b, rows.start + row, columns.start + column, m] += dy[b, i, j, m]
    return dx


def mean_pool_gradient(x: Array, dy: Array, size: int, stride: int) -> Array:
    """Each window's gradient is shared evenly by what it holds."""
    dx = np.zeros_like(x)
    for i, rows in enumerate(windows(x.shape[1], size, stride)):
        for j, columns in enumerate(windows(x.shape[2], size, stride)):
            count = (rows.stop - rows.start) * (columns.stop - columns.start)
            dx[:, rows, columns] += dy[:, i : i + 1, j : j + 1] / count
    return dx


def numerical_gradient(f: Callable[[Array], float], x: Array, step: float = 1e-5) -> Array:
    """Central differences, one element after the other."""
    gradient = np.zeros_like(x)
    for at in np.ndindex(*x.shape):
        there = x.copy()
        there[at] += step
        upper = f(there)
        there[at] -= 2 * step
        gradient[at] = (upper - f(there)) / (2 * step)
    return gradient


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def log_softmax(logits: Array) -> Array:
    logits = logits - logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def cross_entropy(logits: Array, labels: NDArray[np.int64]) -> float:
    """Mean over the examples, in nats."""
    return -log_softmax(logits)[np.arange(len(labels)), labels].mean()


def cross_entropy_gradient(logits: Array, labels: NDArray[np.int64]) -> Array:
    """With respect to the logits: what the softmax is too large by, over the batch."""
    return (np.exp(log_softmax(logits)) - np.eye(logits.shape[1])[labels]) / len(labels)


def alexnet(
    params: Params, x: Array, preset: str, masks: dict[str, Array] | None = None
) -> tuple[dict[str, Array], Callable[[Array], Params]]:
    """Section 3.5 on two towers: every output by name, and the way back.

    Towers are side by side in an output's last axis. The way back leads from the gradient with
    respect to fc8's outputs to that of every parameter. Of "drop6" and "drop7", `masks` says what
    is kept in training; without them it is test time and all is halved.

    "original" differs as `layers/layers-145.cfg` does: conv1 is normalised and pooled before its
    ReLU, alpha is divided by n, conv2 has a second, same-map norm.
    """
    seen, gradient, back = {}, {}, []  # back: for each layer, from dys to dxs, of both towers
    original = preset == "original"

    def each(name: str, f: Callable, f_gradient: Callable, xs: list[Array]) -> list[Array]:
        back.append(lambda dys: [f_gradient(x, dy) for x, dy in zip(xs, dys, strict=True)])
        ys = [f(x) for x in xs]
        seen[name] = np.concatenate(ys, -1)
        return ys

    def weighted(name: str, f: Callable, f_gradient: Callable, xs: list[Array]) -> list[Array]:
        kernels, biases = params[name]["kernel"], params[name]["bias"]

        def to_inputs(dys: list[Array]) -> list[Array]:
            pairs = [f_gradient(xs[t], kernels[t], dys[t]) for t in (0, 1)]
            all_but_last = tuple(range(dys[0].ndim - 1))
            gradient[name] = {
                "kernel": np.stack([dkernel for _, dkernel in pairs]),
                "bias": np.stack([dy.sum(all_but_last) for dy in dys]),
            }
            return [dx for dx, _ in pairs]

        back.append(to_inputs)
        ys = [f(xs[t], kernels[t]) + biases[t] for t in (0, 1)]
        seen[name] = np.concatenate(ys, -1)
        return ys

    def convolved(name: str, xs: list[Array], stride: int = 1, pad=(0, 0)) -> list[Array]:
        def f(x: Array, kernel: Array) -> Array:
            return conv(x, kernel, stride, pad)

        def f_gradient(x: Array, kernel: Array, dy: Array) -> tuple[Array, Array]:
            return conv_gradient(x, kernel, dy, stride, pad)

        return weighted(name, f, f_gradient, xs)

    def connected(name: str, xs: list[Array]) -> list[Array]:
        def f(x: Array, kernel: Array) -> Array:
            return x.reshape(len(x), -1) @ kernel

        def f_gradient(x: Array, kernel: Array, dy: Array) -> tuple[Array, Array]:
            return (dy @ kernel.T).reshape(x.shape), x.reshape(len(x), -1).T @ dy

        return weighted(name, f, f_gradient, xs)

    def both(xs: list[Array]) -> list[Array]:
        back.append(lambda dys: np.split(dys[0] + dys[1], 2, -1))
        return [np.concatenate(xs, -1)] * 2

    def rectified(name: str, xs: list[Array]) -> list[Array]:
        return each(name, relu, lambda x, dy: dy * (x > 0), xs)

    def normalised(name: str, xs: list[Array], *how) -> list[Array]:
        return each(name, lambda x: norm(x, *how), lambda x, dy: norm_gradient(x, dy, *how), xs)

    def pooled(name: str, xs: list[Array]) -> list[Array]:
        return each(name, pool, lambda x, dy: max_pool_gradient(x, dy, 3, 2), xs)

    def dropped(name: str, xs: list[Array]) -> list[Array]:
        kept = np.split(masks[name], 2, -1) if masks else [0.5, 0.5]
        back.append(lambda dys: [dy * part for dy, part in zip(dys, kept, strict=True)])
        xs = [x * part for x, part in zip(xs, kept, strict=True)]
        seen[name] = np.concatenate(xs, -1)
        return xs

    across_maps = (5, 2.0, 1e-4 / 5 if original else 1e-4, 0.75, "maps")
    xs = convolved("conv1", [x, x], stride=4, pad=(0, 3))
    if not original:
        xs = rectified("relu1", xs)
    xs = normalised("norm1", xs, *across_maps)
    xs = pooled("pool1", xs)
    if original:
        xs = rectified("relu1", xs)
    xs = rectified("relu2", convolved("conv2", xs, pad=(2, 2)))
    xs = normalised("norm2", xs, *across_maps)
    if original:
        xs = normalised("cnorm2", xs, 5, 1.0, 1e-3 / 25, 0.75, "space")
    xs = pooled("pool2", xs)
    xs = rectified("relu3", convolved("conv3", both(xs), pad=(1, 1)))
    xs = rectified("relu4", convolved("conv4", xs, pad=(1, 1)))
    xs = rectified("relu5", convolved("conv5", xs, pad=(1, 1)))
    xs = pooled("pool5", xs)
    xs = dropped("drop6", rectified("relu6", connected("fc6", both(xs))))
    xs = dropped("drop7", rectified("relu7", connected("fc7", both(xs))))
    connected("fc8", both(xs))

    def to_parameters(dlogits: Array) -> Params:
        dys = np.split(dlogits, 2, -1)
        for layer_back in reversed(back):
            dys = layer_back(dys)
        return gradient

    return seen, to_parameters


def alexnet_loss(
    params: Params,
    x: Array,
    labels: NDArray[np.int64],
    classes: int,
    preset: str,
    masks: dict[str, Array] | None = None,
) -> tuple[float, Params]:
    """(mean cross-entropy, its gradient); of fc8's outputs the first `classes` are classes."""
    seen, back = alexnet(params, x, preset, masks)
    logits, dlogits = seen["fc8"][:, :classes], np.zeros_like(seen["fc8"])
    dlogits[:, :classes] = cross_entropy_gradient(logits, labels)
    return cross_entropy(logits, labels), back(dlogits)


def cifar_18pct(params: Params, x: Array) -> Array:
    """Logits of cuda-convnet's layers-18pct.cfg."""
    of = {name: (layer["kernel"][0], layer["bias"][0]) for name, layer in params.items()}
    x = conv(x, of["conv1"][0], pad=(2, 2)) + of["conv1"][1]
    x = norm(relu(pool(x)), 3, 1.0, 5e-5 / 9, over="space")
    x = relu(conv(x, of["conv2"][0], pad=(2, 2)) + of["conv2"][1])
    x = norm(pool(x, f=np.mean), 3, 1.0, 5e-5 / 9, over="space")
    x = relu(conv(x, of["conv3"][0], pad=(2, 2)) + of["conv3"][1])
    x = pool(x, f=np.mean)
    return x.reshape(len(x), -1) @ of["fc10"][0] + of["fc10"][1]


def cifar_conv_local(params: Params, x: Array, with_norm: bool) -> Array:
    """Logits of layers-conv-local-13pct.cfg, or with the norms of -11pct.cfg."""
    of = {name: (layer["kernel"][0], layer["bias"][0]) for name, layer in params.items()}

    def response_norm(x: Array) -> Array:
        return norm(x, 9, 1.0, 1e-3 / 9) if with_norm else x

    x = relu(conv(x, of["conv1"][0], pad=(2, 2)) + of["conv1"][1])
    x = response_norm(pool(x))
    x = relu(conv(x, of["conv2"][0], pad=(2, 2)) + of["conv2"][1])
    x = pool(response_norm(x))
    x = relu(local(x, of["local3"][0], 3, 1) + of["local3"][1])
    x = relu(local(x, of["local4"][0], 3, 1) + of["local4"][1])
    return x.reshape(len(x), -1) @ of["fc10"][0] + of["fc10"][1]


# --- The AlexNets of other frameworks: uint8 RGB images, weights as their files hold them ---------


def grouped_conv(
    x: Array, weight_OIHW: Array, bias: Array, groups: int = 1, stride: int = 1, pad: int = 0
) -> Array:
    """Caffe's and PyTorch's: each group of outputs reads its own group of channels."""
    kernels = np.split(weight_OIHW.transpose(2, 3, 1, 0), groups, -1)
    parts = zip(np.split(x, groups, -1), kernels, strict=True)
    return np.concatenate([conv(part, k, stride, (pad, pad)) for part, k in parts], -1) + bias


def connected(x: Array, weight: Array, bias: Array) -> Array:
    """Maps are flattened channel by channel."""
    if x.ndim == 4:
        x = x.transpose(0, 3, 1, 2).reshape(len(x), -1)
    return x @ weight.T + bias


def caffe(arrays: dict[str, Array], images: NDArray[np.uint8], pool_first: bool) -> Array:
    """Logits of bvlc_alexnet; with `pool_first` of bvlc_reference_caffenet."""
    of = {name: value.astype(float) for name, value in arrays.items()}

    def weighted(name: str) -> tuple[Array, Array]:
        return of[f"{name}.weight"], of[f"{name}.bias"]

    def pooled_and_normed(x: Array) -> Array:
        x = pool(x) if pool_first else x
        x = norm(x, 5, 1.0, 1e-4 / 5)  # over all maps, whatever their group
        return x if pool_first else pool(x)

    x = images[..., ::-1] - np.array([104.007, 116.669, 122.679])
    x = pooled_and_normed(relu(grouped_conv(x, *weighted("conv1"), stride=4)))
    x = pooled_and_normed(relu(grouped_conv(x, *weighted("conv2"), groups=2, pad=2)))
    x = relu(grouped_conv(x, *weighted("conv3"), pad=1))
    x = relu(grouped_conv(x, *weighted("conv4"), groups=2, pad=1))
    x = pool(relu(grouped_conv(x, *weighted("conv5"), groups=2, pad=1)))
    x = relu(connected(x, *weighted("fc6")))
    x = relu(connected(x, *weighted("fc7")))
    return connected(x, *weighted("fc8"))


def torchvision(arrays: dict[str, Array], images: NDArray[np.uint8]) -> Array:
    """Logits of models.alexnet, for images whose maps its pooling covers without a rest."""
    of = {name: value.astype(float) for name, value in arrays.items()}

    def weighted(name: str) -> tuple[Array, Array]:
        return of[f"{name}.weight"], of[f"{name}.bias"]

    x = (images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    x = pool(relu(grouped_conv(x, *weighted("features.0"), stride=4, pad=2)))
    x = pool(relu(grouped_conv(x, *weighted("features.3"), pad=2)))
    x = relu(grouped_conv(x, *weighted("features.6"), pad=1))
    x = relu(grouped_conv(x, *weighted("features.8"), pad=1))
    x = pool(relu(grouped_conv(x, *weighted("features.10"), pad=1)))
    x = relu(connected(x, *weighted("classifier.1")))
    x = relu(connected(x, *weighted("classifier.4")))
    return connected(x, *weighted("classifier.6"))
