"""Section 4.1 on the device: mean image, random crops, reflections and colour noise; test views.

Pure functions of (images, key), run inside the jitted step. Every example draws from a key of its
own number in the global batch, so a resumed run, or one spread over more devices, sees the same
crops.
"""

import dataclasses
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from alexnet.data.statistics import Statistics
from alexnet.errors import require

Mean = Literal["crop", "centre", "pixel"]
Scale = Literal["deviation", "variance"]
VIEWS = {"centre": 1, "ten_crop": 10, "nine_crop": 9}  # how many each averages


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How images become inputs; `config.augment` holds these arguments.

    Attributes:
        crop: side of the square that the net sees, in pixels.
        random_crop: train on random crops; False is the centre crop.
        flip: reflect half of the training images.
        colour_noise: standard deviation of the alphas of section 4.1, 0.1 in the paper; 0 is off.
        colour_scale: what an alpha multiplies along each principal component of RGB. "deviation",
            the square root of the eigenvalue, is what the source does. "variance" is the text taken
            literally: on pixels of 0-255 it is absurdly large.
        divide_by_noise: the source divides the noisy image by 1 + colour_noise, to keep its scale
            near that of the test images (`convdata_jpeg.py`, get_next_batch).
        crop_chunk: consecutive images that share one crop and flip: 1, or the source's 32.
        mean: subtract the mean image at the "crop"'s own place, before any reflection, as the text
            says; or always its "centre" crop, after the reflection, as the source does; or from
            every "pixel" the same `mean_pixel`, as nets of other frameworks want it.
        mean_pixel: red, green and blue on 0-255 for mean="pixel"; () otherwise.
    """

    crop: int
    random_crop: bool = True
    flip: bool = True
    colour_noise: float = 0.1
    colour_scale: Scale = "deviation"
    divide_by_noise: bool = False
    crop_chunk: int = 1
    mean: Mean = "crop"
    mean_pixel: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Raises UserError for a value that cannot be."""
        pixel = self.mean == "pixel"
        numbers = all(isinstance(value, int | float) for value in self.mean_pixel)
        for name, good, needs in (
            ("crop", self.crop >= 1, "at least 1"),
            ("colour_noise", self.colour_noise >= 0, "0 or more"),
            ("colour_scale", self.colour_scale in get_args(Scale), "deviation or variance"),
            ("crop_chunk", self.crop_chunk >= 1, "at least 1"),
            ("mean", self.mean in get_args(Mean), "crop, centre or pixel"),
            (
                "mean_pixel",
                numbers and len(self.mean_pixel) == (3 if pixel else 0),
                "three numbers with mean=pixel, () without",
            ),
        ):
            require(f"augment.{name}", getattr(self, name), good, needs)


def training_inputs(
    images_BSSC: jax.Array,
    key: jax.Array,
    augmentation: Augmentation,
    statistics: Statistics,
    noise_on: jax.Array | float = 1.0,
    examples_B: jax.Array | None = None,
) -> jax.Array:
    """One random view of each image.

    Args:
        images_BSSC: uint8, as stored.
        statistics: mean image and colour PCA of the training set, on 0-255.
        noise_on: 0 turns the colour noise off at run time (source: from epoch 68).
        examples_B: each image's number in the global batch; 0..B-1 if None.

    Returns:
        float32 [B, crop, crop, 3].
    """
    if examples_B is None:
        examples_B = jnp.arange(images_BSSC.shape[0])
    border = images_BSSC.shape[1] - augmentation.crop
    crop_key, flip_key, noise_key = jax.random.split(key, 3)
    chunks_B = examples_B // augmentation.crop_chunk

    def corner(key):  # all (border + 1)^2 crops are equally likely
        return jax.random.randint(key, (2,), 0, border + 1)

    if augmentation.random_crop:
        corners_B2 = jax.vmap(corner)(_keys(crop_key, chunks_B))
    else:
        corners_B2 = jnp.full((images_BSSC.shape[0], 2), border // 2)
    crops = _crops(images_BSSC, corners_B2, augmentation.crop).astype(jnp.float32)
    means = _central_mean(augmentation, statistics)
    if augmentation.mean == "crop" and augmentation.random_crop:
        means = jax.vmap(lambda at: _crop(statistics.mean_HWC, at, augmentation.crop))(corners_B2)
    flip_B = jnp.zeros(images_BSSC.shape[0], bool)
    if augmentation.flip:
        flip_B = jax.vmap(jax.random.bernoulli)(_keys(flip_key, chunks_B))
    x = _without_mean(crops, means, flip_B, augmentation)
    if augmentation.colour_noise:
        alphas_BC = augmentation.colour_noise * jax.vmap(lambda key: jax.random.normal(key, (3,)))(
            _keys(noise_key, examples_B)
        )
        eigenvalues_C = statistics.eigenvalues
        sizes_C = (
            eigenvalues_C if augmentation.colour_scale == "variance" else jnp.sqrt(eigenvalues_C)
        )
        shift_BC = noise_on * (alphas_BC * sizes_C) @ statistics.eigenvectors.T
        x = x + shift_BC[:, None, None, :]
        if augmentation.divide_by_noise:
            x = x / (1 + noise_on * augmentation.colour_noise)
    return x


def evaluation_inputs(
    images_BSSC: jax.Array,
    augmentation: Augmentation,
    statistics: Statistics,
    views: str = "centre",
    view: int = 0,
) -> jax.Array:
    """One of the views that are averaged at test time: float32 [B, crop, crop, 3].

    Args:
        views: "centre" is one view; "ten_crop" the four corners and the centre and their
            reflections (section 4.1); "nine_crop" a 3x3 grid of crops, unreflected (cuda-convnet's
            CIFAR-10 test).
        view: which of them, 0 <= view < VIEWS[views].
    """
    border = images_BSSC.shape[1] - augmentation.crop
    middle = border // 2
    corners = {
        "centre": [(middle, middle)],
        "ten_crop": [(0, 0), (0, border), (middle, middle), (border, 0), (border, border)],
        "nine_crop": [(y, x) for y in (0, middle, border) for x in (0, middle, border)],
    }[views]
    y, x = corners[view % len(corners)]
    at = (slice(None), slice(y, y + augmentation.crop), slice(x, x + augmentation.crop))
    at_place = augmentation.mean == "crop"
    mean = statistics.mean_HWC[None][at] if at_place else _central_mean(augmentation, statistics)
    flip_B = jnp.full(images_BSSC.shape[0], view >= len(corners))
    return _without_mean(images_BSSC[at].astype(jnp.float32), mean, flip_B, augmentation)


def _central_mean(augmentation: Augmentation, statistics: Statistics) -> jax.Array:
    """The mean image's centre crop, [1, crop, crop, 3], or one colour, [3]."""
    if augmentation.mean == "pixel":
        return jnp.array(augmentation.mean_pixel, jnp.float32)
    return _centre(statistics.mean_HWC[None], augmentation.crop)


def _without_mean(crops_BHWC, means_BHWC, flip_B, augmentation: Augmentation) -> jax.Array:
    def reflected(x_BHWC):
        return jnp.where(flip_B[:, None, None, None], x_BHWC[:, :, ::-1], x_BHWC)

    if augmentation.mean == "crop":
        return reflected(crops_BHWC - means_BHWC)
    return reflected(crops_BHWC) - means_BHWC


def _keys(key: jax.Array, numbers_B: jax.Array) -> jax.Array:
    return jax.vmap(jax.random.fold_in, (None, 0))(key, numbers_B)


def _crop(image_SSC: jax.Array, at: jax.Array, side: int) -> jax.Array:
    return jax.lax.dynamic_slice(image_SSC, (at[0], at[1], 0), (side, side, image_SSC.shape[-1]))


def _crops(images_BSSC: jax.Array, corners_B2: jax.Array, side: int) -> jax.Array:
    return jax.vmap(lambda image, at: _crop(image, at, side))(images_BSSC, corners_B2)


def _centre(images_BSSC: jax.Array, side: int) -> jax.Array:
    start = (images_BSSC.shape[1] - side) // 2
    return images_BSSC[:, start : start + side, start : start + side]
