"""The paper's definitions in plain float64 numpy, slow and obvious: what the tests compare with.

Nothing here imports alexnet or JAX. Layouts are the project's: images NHWC, kernels HWIO,
parameters {layer: {"kernel": [towers, ...], "bias": [towers, ...]}}.
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


def norm(
    x: Array, size: int, k: float, scale: float, beta: float = 0.75, over: str = "maps"
) -> Array:
    """Section 3.3: a / (k + scale * sum of a^2 over the neighbours that exist) ^ beta."""
    _, height, width, maps = x.shape
    reach = size // 2
    squares = np.zeros_like(x)
    if over == "maps":
        for i in range(maps):
            near = x[..., max(0, i - reach) : min(maps, i + reach + 1)]
            squares[..., i] = (near**2).sum(-1)
    else:
        for i in range(height):
            for j in range(width):
                rows = slice(max(0, i - reach), min(height, i + reach + 1))
                columns = slice(max(0, j - reach), min(width, j + reach + 1))
                squares[:, i, j] = (x[:, rows, columns] ** 2).sum((1, 2))
    return x / (k + scale * squares) ** beta


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


def alexnet(params: Params, x: Array, preset: str) -> dict[str, Array]:
    """Section 3.5 at test time on two towers; every output by name, towers side by side.

    "original" differs as `layers/layers-145.cfg` does: conv1 is normalised and pooled before its
    ReLU, alpha is divided by n, conv2 has a second, same-map norm.
    """
    seen = {}
    original = preset == "original"

    def each(name: str, f: Callable[[Array], Array], xs: list[Array]) -> list[Array]:
        xs = [f(x) for x in xs]
        seen[name] = np.concatenate(xs, -1)
        return xs

    def both(xs: list[Array]) -> list[Array]:
        return [np.concatenate(xs, -1)] * 2

    def convolved(name: str, xs: list[Array], **how) -> list[Array]:
        kernels, biases = params[name]["kernel"], params[name]["bias"]
        xs = [conv(xs[t], kernels[t], **how) + biases[t] for t in (0, 1)]
        seen[name] = np.concatenate(xs, -1)
        return xs

    def connected(name: str, xs: list[Array]) -> list[Array]:
        kernels, biases = params[name]["kernel"], params[name]["bias"]
        xs = [xs[t].reshape(len(xs[t]), -1) @ kernels[t] + biases[t] for t in (0, 1)]
        seen[name] = np.concatenate(xs, -1)
        return xs

    def response_norm(x: Array) -> Array:
        return norm(x, 5, 2.0, 1e-4 / 5 if original else 1e-4)

    xs = convolved("conv1", [x, x], stride=4, pad=(0, 3))
    if not original:
        xs = each("relu1", relu, xs)
    xs = each("norm1", response_norm, xs)
    xs = each("pool1", pool, xs)
    if original:
        xs = each("relu1", relu, xs)
    xs = each("relu2", relu, convolved("conv2", xs, pad=(2, 2)))
    xs = each("norm2", response_norm, xs)
    if original:
        xs = each("cnorm2", lambda x: norm(x, 5, 1.0, 1e-3 / 25, over="space"), xs)
    xs = each("pool2", pool, xs)
    xs = each("relu3", relu, convolved("conv3", both(xs), pad=(1, 1)))
    xs = each("relu4", relu, convolved("conv4", xs, pad=(1, 1)))
    xs = each("relu5", relu, convolved("conv5", xs, pad=(1, 1)))
    xs = each("pool5", pool, xs)
    xs = each("relu6", relu, connected("fc6", both(xs)))
    xs = each("drop6", lambda x: x * 0.5, xs)
    xs = each("relu7", relu, connected("fc7", both(xs)))
    xs = each("drop7", lambda x: x * 0.5, xs)
    connected("fc8", both(xs))
    return seen


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
