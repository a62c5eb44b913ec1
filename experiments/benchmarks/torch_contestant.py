"""PyTorch's training step or forward pass of the same nets, for `bench.py`.

This script needs only PyTorch and NumPy: it builds the nets from the project's tables, which need
no JAX. See `work.py` for the protocol. The modes are eager, compile and graphs, each also in
channels_last; graphs captures a whole iteration of the compiled net as one CUDA graph.
"""

import functools
import json
import math
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import work
from torch import nn
from torch.nn import functional

from alexnet.models import table


class StockNorm(nn.Module):
    """PyTorch's LocalResponseNorm; a norm over pixels of a map uses PyTorch's average pooling."""

    def __init__(self, row: table.Norm, towers: int):
        super().__init__()
        self.row, self.towers = row, towers
        if row.over == "maps":
            alpha = row.scale * row.size  # PyTorch divides alpha by the size
            self.norm = nn.LocalResponseNorm(row.size, alpha, row.beta, row.k)

    def forward(self, x):
        row = self.row
        if row.over == "maps":
            towers = x.chunk(self.towers, 1)
            return torch.cat([self.norm(x) for x in towers], 1) if self.towers > 1 else self.norm(x)
        mean = functional.avg_pool2d(x * x, row.size, 1, row.size // 2, count_include_pad=True)
        return x * (row.k + row.scale * row.size**2 * mean) ** -row.beta


class BandNorm(nn.Module):
    """The norm over maps by hand: a 1x1 convolution with a band of ones, then square roots.

    The square roots give the power -.75, so beta must be .75.
    """

    def __init__(self, row: table.Norm, maps: int, towers: int):
        super().__init__()
        assert row.beta == 0.75
        self.row = row
        near = (torch.arange(maps)[:, None] - torch.arange(maps)).abs() <= row.size // 2
        tower = torch.arange(maps) // (maps // towers)
        near &= tower[:, None] == tower
        self.register_buffer("band", near[:, :, None, None].float() * row.scale)

    def forward(self, x):
        root = (functional.conv2d(x * x, self.band) + self.row.k).rsqrt()
        return (x * root * root.sqrt()).to(x.dtype)  # in autocast, rsqrt gives float32


class Local(nn.Module):
    """A locally-connected layer: each position multiplies its patch by its kernel."""

    def __init__(self, row: table.Local, inputs: int, side: int):
        super().__init__()
        self.row, self.side = row, side
        self.weight = nn.Parameter(torch.empty(side * side, inputs * row.size**2, row.kernels))
        self.bias = nn.Parameter(torch.empty(row.kernels, side, side))

    def forward(self, x):
        patches = functional.unfold(x, self.row.size, padding=self.row.pad).permute(2, 0, 1)
        y = torch.bmm(patches, self.weight).permute(1, 2, 0)
        return y.unflatten(2, (self.side, self.side)) + self.bias


def build(net: table.Net, by_hand: bool) -> nn.Sequential:
    """The table as modules; towers become groups of a convolution."""
    modules, maps = [], 3
    for layer in net.layers:
        row, inputs = layer.row, layer.input_shape
        match row:
            case table.Conv():
                before, after = row.padding
                if before != after:
                    modules.append(nn.ZeroPad2d((before, after, before, after)))
                pad = before if before == after else 0
                groups = maps // inputs[-1]
                conv = nn.Conv2d(maps, row.kernels, row.size, row.stride, pad, groups=groups)
                modules.append((row.name, conv))
                maps = row.kernels
            case table.Local():
                modules.append((row.name, Local(row, inputs[-1], inputs[0])))
                maps = row.kernels
            case table.Dense():
                if len(inputs) == 3:
                    modules.append(nn.Flatten())
                modules.append((row.name, nn.Linear(math.prod(inputs), row.neurons)))
            case table.Norm():
                band = by_hand and row.over == "maps"
                norm = BandNorm(row, maps, net.towers) if band else StockNorm(row, net.towers)
                modules.append(norm)
            case table.Pool(kind="max"):
                modules.append(nn.MaxPool2d(row.size, row.stride, ceil_mode=True))
            case table.Pool():
                pool = nn.AvgPool2d(row.size, row.stride, ceil_mode=True, count_include_pad=False)
                modules.append(pool)
            case table.Dropout():
                modules.append(nn.Dropout(row.rate))
            case _:
                modules.append(nn.ReLU(inplace=True))
    net = nn.Sequential()
    for number, module in enumerate(modules):
        name, module = module if isinstance(module, tuple) else (f"_{number}", module)
        net.add_module(name, module)
    return net


def load(model: nn.Module, net: table.Net, file: str) -> None:
    """Loads the weights that `jax_contestant` wrote.

    Their shapes are [towers, height, width, in, out] and, for dense layers, [towers, in, out].
    """
    weights = np.load(file)
    for layer in net.layers:
        row = layer.row
        if not isinstance(row, table.Weighted):
            continue
        kernel, bias = weights[f"{row.name}.kernel"], weights[f"{row.name}.bias"]
        if isinstance(row, table.Local):
            kernel, bias = kernel[0], bias[0].transpose(2, 0, 1)
            kernel = kernel.swapaxes(2, 3).reshape(-1, row.size**2 * kernel.shape[3], row.kernels)
        else:
            kernel, bias = np.concatenate(kernel, -1), np.concatenate(bias)
            if isinstance(row, table.Conv):
                kernel = kernel.transpose(3, 2, 0, 1)
            elif len(layer.input_shape) == 3:
                kernel = kernel.reshape(*layer.input_shape, -1).transpose(3, 2, 0, 1)
                kernel = kernel.reshape(kernel.shape[0], -1)
            else:
                kernel = kernel.T
        module = getattr(model, row.name)
        with torch.no_grad():
            module.weight.copy_(torch.from_numpy(np.ascontiguousarray(kernel)))
            module.bias.copy_(torch.from_numpy(np.ascontiguousarray(bias)))


GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"


class Task:
    """A net of `work.NETS` as modules, its batch and its optimiser, on the device."""

    def __init__(self, task: dict):
        self.task, net = task, work.net(task["net"])
        images, labels = work.batch(net, task["batch"])
        x = torch.from_numpy(work.inputs(images)).permute(0, 3, 1, 2).contiguous()
        self.x, self.y = x.to(DEVICE), torch.from_numpy(labels).long().to(DEVICE)
        self.model = build(net, by_hand=task["tuning"] != "stock")
        if task["work"] == "check":
            load(self.model, net, task["weights"])
        self.model.to(DEVICE).train(task["work"] == "train")
        mode = task.get("mode", "")
        if mode.endswith("channels_last"):
            self.model.to(memory_format=torch.channels_last)
            self.x = self.x.to(memory_format=torch.channels_last)
        compiled = mode.startswith(("compile", "graphs"))
        self.called = torch.compile(self.model, dynamic=False) if compiled else self.model
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=work.RATE, momentum=0.9, weight_decay=0.0005, fused=True
        )

    def autocast(self) -> torch.autocast:
        """bfloat16 if the task asks for it; a captured graph must cast the weights anew."""
        wanted, compiled = self.task["dtype"] == "bfloat16", self.called is not self.model
        return torch.autocast(DEVICE, torch.bfloat16, enabled=wanted, cache_enabled=not compiled)

    def loss(self) -> torch.Tensor:
        with self.autocast():
            return functional.cross_entropy(self.called(self.x), self.y)

    def check(self) -> dict[str, Any]:
        """Loss and logits."""
        with torch.no_grad():
            logits = self.model(self.x)
            loss = functional.cross_entropy(logits, self.y)
        return {"loss": loss.item(), "logits": logits.tolist()}

    def train(self) -> None:
        """A training step."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss()
        loss.backward()
        self.optimizer.step()
        if not GPU:
            loss.item()

    def forward(self) -> None:
        with torch.inference_mode(), self.autocast():
            self.called(self.x)

    def forward_in_a_graph(self) -> None:
        with torch.no_grad(), self.autocast():
            self.called(self.x)


@functools.cache
def side_stream() -> torch.cuda.Stream:
    """One for all captures: PyTorch keeps a workspace of cuBLAS for every stream."""
    return torch.cuda.Stream()


def captured(iterate: Callable[[], None], warm_up: int = 3) -> Callable[[], None]:
    """A CUDA graph of an iteration, captured as PyTorch's documentation recommends."""
    stream = side_stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(warm_up):
            iterate()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.reset_peak_memory_stats()  # a replay allocates nothing: the capture has the peak
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        iterate()
    return graph.replay


def prepare(task: dict) -> work.Ready:
    """Builds a task, and runs it once."""
    made = task_of(task)
    if task["work"] == "check":
        return work.Ready(made.check())
    graphs = task["mode"].startswith("graphs")
    if graphs and not GPU:
        raise RuntimeError("CUDA graphs need a GPU")
    iterate = made.train if task["work"] == "train" else made.forward
    if graphs and task["work"] == "forward":
        iterate = made.forward_in_a_graph
    wait = torch.cuda.synchronize if GPU else lambda: None
    compiling = time.perf_counter()
    iterate = captured(iterate) if graphs else iterate
    iterate()
    wait()
    compile_seconds = time.perf_counter() - compiling  # with the first run
    if GPU and not graphs:  # cuDNN's search for algorithms takes memory that steps do not
        torch.cuda.reset_peak_memory_stats()
    said = {"compile": compile_seconds, "start": time.time() - task.get("started", time.time())}
    peak = torch.cuda.max_memory_allocated if GPU else None
    return work.Ready(said, iterate, wait, peak)


def task_of(task: dict, kept: dict[str, Task] = {}) -> Task:  # noqa: B006  kept for the next call
    """A new task, or the last one if it compiled the same net, so that graphs need no compiling."""
    mode = task.get("mode", "")
    compiled = mode.startswith(("compile", "graphs"))
    same = {k: v for k, v in task.items() if k not in ("mode", "started")}
    key = json.dumps(same | {"channels_last": mode.endswith("channels_last")})
    if not compiled or key not in kept:
        kept.clear()
        torch.manual_seed(0)
        set_precision(task["dtype"])
        torch.compiler.reset()  # else the next net would be a recompilation of this one
        if GPU:
            torch.cuda.empty_cache()
        made = Task(task)
        kept.update({key: made} if compiled else {})
        return made
    return kept[key]


def set_precision(word: str) -> None:
    """Allows or forbids TF32 for products of float32 numbers."""
    tf32 = word != "float32"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True


def about() -> dict[str, Any]:
    """Platform, device and versions."""
    return {
        "platform": "gpu" if GPU else "cpu",
        "device": torch.cuda.get_device_name() if GPU else platform.machine(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if GPU else None,
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    work.serve(about(), prepare)
