"""PyTorch's training step or forward pass of the same tables, for `bench.py` to time.

Needs PyTorch and nothing else: it reads the project's tables, which need no JAX.
"""

import json
import math
import sys
import time

import numpy as np
import torch
import work
from torch import nn
from torch.nn import functional

from alexnet.models import table


class StockNorm(nn.Module):
    """The library's LocalResponseNorm; over the same map there is none, but its mean filter is."""

    def __init__(self, row: table.Norm, towers: int):
        super().__init__()
        self.row, self.towers = row, towers
        if row.over == "maps":
            alpha = row.scale * row.size  # the library divides it
            self.norm = nn.LocalResponseNorm(row.size, alpha, row.beta, row.k)

    def forward(self, x):
        row = self.row
        if row.over == "maps":
            towers = x.chunk(self.towers, 1)
            return torch.cat([self.norm(x) for x in towers], 1) if self.towers > 1 else self.norm(x)
        mean = functional.avg_pool2d(x * x, row.size, 1, row.size // 2, count_include_pad=True)
        return x * (row.k + row.scale * row.size**2 * mean) ** -row.beta


class BandNorm(nn.Module):
    """The same by hand: the sum as a 1x1 convolution with a band of ones, ^-.75 by roots."""

    def __init__(self, row: table.Norm, maps: int, towers: int):
        super().__init__()
        self.row = row
        near = (torch.arange(maps)[:, None] - torch.arange(maps)).abs() <= row.size // 2
        tower = torch.arange(maps) // (maps // towers)
        near &= tower[:, None] == tower
        self.register_buffer("band", near[:, :, None, None].float() * row.scale)

    def forward(self, x):
        root = (functional.conv2d(x * x, self.band) + self.row.k).rsqrt()
        return x * root * root.sqrt()


class Local(nn.Module):
    """A locally-connected layer: patches times a kernel for each place."""

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
    """The table as modules; towers are groups of a convolution."""
    modules, maps = [], 3
    for layer in table.layers(net):
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
    """The weights of `jax_contestant`: [towers, height, width, in, out] and [towers, in, out]."""
    weights = np.load(file)
    for layer in table.layers(net):
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


def main(task: dict) -> None:
    torch.manual_seed(0)
    net = work.net(task["net"])
    images, labels = work.batch(net, task["batch"])
    x = torch.from_numpy(work.inputs(images)).permute(0, 3, 1, 2).contiguous()
    y = torch.from_numpy(labels).long()
    model = build(net, by_hand=task["tuning"] != "stock")
    if task["work"] == "check":
        load(model, net, task["weights"])
        with torch.no_grad():
            work.serve(loss=functional.cross_entropy(model.eval()(x), y).item())
        return
    if task["mode"] == "channels_last":
        model, x = (a.to(memory_format=torch.channels_last) for a in (model, x))
    called = torch.compile(model) if task["mode"] == "compile" else model
    bfloat16 = torch.autocast("cpu", torch.bfloat16, enabled=task["dtype"] == "bfloat16")

    if task["work"] == "forward":
        model.eval()

        def run() -> None:
            with torch.inference_mode(), bfloat16:
                called(x)
    else:
        model.train()
        optimizer = torch.optim.SGD(
            model.parameters(), lr=work.RATE, momentum=0.9, weight_decay=0.0005, fused=True
        )

        def run() -> None:
            optimizer.zero_grad(set_to_none=True)
            with bfloat16:
                loss = functional.cross_entropy(called(x), y)
            loss.backward()
            optimizer.step()
            loss.item()

    compiling = time.perf_counter()
    run()
    compile_seconds = time.perf_counter() - compiling  # with the first run
    work.serve(run, compile=compile_seconds, start=time.time() - task["started"])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
