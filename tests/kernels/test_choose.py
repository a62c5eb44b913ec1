"""alexnet.kernels.choose: what is chosen for CPUs, and that a user's choice goes first."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alexnet.devices import mesh as meshes
from alexnet.errors import UserError
from alexnet.kernels import choose as choose_module
from alexnet.kernels import convolution, dense
from alexnet.kernels.choose import CPU, GPU, choose, compiler_options
from alexnet.models import network
from alexnet.models.network import PLAIN
from alexnet.training import forward
from alexnet.training.setup import setup


@pytest.fixture(scope="module")
def mesh():
    return meshes.make(towers=2, batch_size=128, data=1, tower=1)


@pytest.mark.parametrize(
    ("batch", "image_size", "size"),
    [
        *[(1, 224, 0), (16, 227, 0), (17, 227, 16), (32, 224, 16), (128, 224, 32), (129, 224, 33)],
        (17, 228, 15),  # a little larger than AlexNet's
        *[(128, 32, 0), (128, 24, 0), (4, 2000, 1)],
    ],
)
def test_on_a_cpu_chunks_have_few_pixels(mesh, batch, image_size, size):
    chosen = choose("auto", mesh, batch, image_size)
    expected = CPU if size == 0 else CPU._replace(stage=chosen.stage)
    assert chosen == expected
    assert size == 0 or chosen.stage.keywords == {"size": size}
    assert size == 0 or -(-batch // size) <= 4


def on(kind: str, devices: int = 1):
    """The part of a mesh that `choose` looks at."""
    return SimpleNamespace(size=devices, devices=np.array([SimpleNamespace(platform=kind)]))


def test_several_devices_take_their_batch_whole():
    assert choose("auto", on("cpu", devices=2), 128, 224) is CPU


def test_what_the_user_asks_for_goes_first(mesh, monkeypatch):
    assert choose("plain", mesh, 128, 224) is PLAIN
    assert choose("cpu", on("gpu"), 128, 24) is CPU
    assert choose("gpu", mesh, 128, 224) is GPU
    with pytest.raises(UserError, match="kernels='tpu': choose one of auto, plain, cpu, gpu"):
        choose("tpu", mesh, 128, 224)
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_experimental_ynn_fusion_type=-individual_dot")
    assert list(compiler_options(mesh)) == ["xla_cpu_copy_insertion_use_region_analysis"]


def test_each_kind_of_device_gets_its_own_forms_and_options(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    assert choose("auto", on("gpu"), 128, 224) is GPU
    assert choose("auto", on("tpu"), 128, 224) is PLAIN
    assert compiler_options(on("tpu")) == {}
    options = compiler_options(on("gpu"))  # XLA knows their names without a GPU
    assert options == {
        "xla_gpu_enable_triton_gemm": False,
        "xla_gpu_experimental_enable_fusion_autotuner": False,
        "xla_gpu_autotune_level": 2,
    }
    graphs = compiler_options(on("gpu"), cuda_graphs=True)
    assert graphs == options | {
        "xla_gpu_enable_command_buffer": (
            "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION,CONVOLUTION"
        ),
    }
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_autotune_level=4")
    assert compiler_options(on("gpu")) == {
        name: value for name, value in options.items() if name != "xla_gpu_autotune_level"
    }


def test_an_option_that_xla_does_not_know_is_left_out_with_a_warning(mesh, monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    known = compiler_options(mesh)
    monkeypatch.setattr(choose_module, "_CPU_COMPILER_OPTIONS", known | {"xla_cpu_magic": True})
    with pytest.warns(UserWarning, match="XLA does not know xla_cpu_magic=True"):
        assert compiler_options(mesh) == known
    assert len(known) == 2


def test_on_a_cpu_convolutions_are_left_to_eigen_and_products_are_not(mesh, monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)

    def net(x_BHWC, kernel_HWIO, kernel_IO):
        return convolution.conv(x_BHWC, kernel_HWIO, 1, ((1, 1), (1, 1))).reshape(8, -1) @ kernel_IO

    shapes = (8, 12, 12, 64), (3, 3, 64, 64), (12 * 12 * 64, 64)
    arrays = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]

    options = compiler_options(mesh)
    hlo = jax.jit(net, compiler_options=options).lower(*arrays).compile().as_text()
    lines = [line for line in hlo.splitlines() if " convolution(" in line]
    entry = hlo[hlo.index("ENTRY") :]
    assert lines
    assert " convolution(" in entry  # not inside a fusion of YNNPACK
    assert "ynn_fusion" in entry


@pytest.mark.parametrize(("dtype", "eigens"), [("float32", True), ("bfloat16", False)])
def test_on_a_cpu_dense_layers_are_left_to_eigen_in_float32(mesh, monkeypatch, dtype, eigens):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    options = compiler_options(mesh)
    arrays = [jax.ShapeDtypeStruct(shape, dtype) for shape in ((2, 32, 512), (2, 512, 256))]
    compiled = jax.jit(dense.dense, compiler_options=options).lower(*arrays).compile()
    assert ("ynn_fusion" not in compiled.as_text()) == eigens


def test_a_cpus_step_updates_dense_kernels_in_place(mesh, monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)

    def step(kernels, x_BI):
        def loss(kernels):
            hidden = x_BI @ kernels[0]
            return ((hidden @ kernels[1]) ** 2).sum()

        return jax.tree.map(lambda kernel, d: kernel - 0.1 * d, kernels, jax.grad(loss)(kernels))

    kernels = [jax.ShapeDtypeStruct((512, 512), np.float32)] * 2
    x_BI = jax.ShapeDtypeStruct((8, 512), np.float32)

    def copies(options):
        program = jax.jit(step, donate_argnums=0, compiler_options=options).lower(kernels, x_BI)
        lines = program.compile().as_text().splitlines()
        return sum("f32[512,512]" in line and " copy(" in line for line in lines)

    assert copies({}) > 0  # or the option is not needed any more
    assert copies(compiler_options(mesh)) == 0


def test_a_run_computes_as_the_platform_likes(tiny):
    run = setup(tiny)
    conv1 = next(row for row in run.net.rows if row.name == "conv1")
    params = jax.eval_shape(lambda: network.init(run.net, jax.random.key(0)))
    x_BHWC = jnp.zeros((2, run.net.image_size, run.net.image_size, 3))
    logits = forward.on_mesh(run.net, run.mesh, **run.how)
    program = str(jax.make_jaxpr(logits)(params, x_BHWC))
    # of three channels: four adjacent outputs of each kernel
    assert f",{4 * conv1.kernels}] = conv_general_dilated" in program
