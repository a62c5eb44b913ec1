"""From images to inputs on the device: mean (section 2), augmentation and test views (4.1).

A view is a crop, perhaps reflected, in training with colour noise. Training draws views at random,
tests use fixed ones, and `inputs` applies them. These are pure functions inside the jitted step. An
example's random key depends only on the step's key and its number in the global batch, so a resumed
run, or one on more devices, sees the same crops.
"""

import dataclasses
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from alexnet.data.statistics import Statistics
from alexnet.errors import is_number, require

Mean = Literal["crop", "centre", "pixel"]
Scale = Literal["deviation", "variance"]
LARGEST = 1e6  # of colour_noise; above it, float32 has no digits left for the image
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
        crop_chunk: how many consecutive images share one crop and flip; 32 in the source.
        mean: what is subtracted. "crop" is the mean image at the crop's place, before any
            reflection, as the text implies; "centre" its central crop, after the reflection, as the
            source does; "pixel" the same `mean_pixel` everywhere, as other frameworks' nets need.
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
        """Raises UserError for an impossible value."""
        pixel = self.mean == "pixel"
        numbers = all(map(is_number, self.mean_pixel))
        for name, good, needs in (
            ("crop", self.crop >= 1, "at least 1"),
            ("colour_noise", 0 <= self.colour_noise <= LARGEST, f"0 or more, up to {LARGEST:g}"),
            ("colour_scale", self.colour_scale in get_args(Scale), "deviation or variance"),
            ("crop_chunk", self.crop_chunk >= 1, "at least 1"),
            ("mean", self.mean in get_args(Mean), "crop, centre or pixel"),
            (
                "mean_pixel",
                numbers and len(self.mean_pixel) == (3 if pixel else 0),
                "three numbers with mean=pixel, () without",
            ),
        ):
            require(name, getattr(self, name), good, needs)


def training_inputs(
    images_BSSC: jax.Array,
    key: jax.Array,
    augmentation: Augmentation,
    statistics: Statistics,
    noise_on: jax.Array | float = 1.0,
    examples_B: jax.Array | None = None,
) -> jax.Array:
    """A random view of each image, as the net sees it: float32 [B, crop, crop, 3].

    Args:
        images_BSSC: uint8, as stored.
        statistics: of the training set, on 0-255.
        noise_on: 0 turns the colour noise off at run time, as the source's run 145 did at epoch 67.
        examples_B: each image's number in the global batch; 0..B-1 if None.
    """
    if examples_B is None:
        examples_B = jnp.arange(len(images_BSSC))
    border = images_BSSC.shape[1] - augmentation.crop
    views = random_views(key, augmentation, statistics, border, examples_B, noise_on)
    return inputs(images_BSSC, views, augmentation, statistics)


def evaluation_inputs(
    images_BSSC: jax.Array,
    augmentation: Augmentation,
    statistics: Statistics | None,
    views: str = "centre",
    view: jax.Array | int = 0,
) -> jax.Array:
    """One of the views that are averaged at test time: float32 [B, crop, crop, 3].

    Args:
        views: "centre" is one view; "ten_crop" the four corners and the centre and their
            reflections (section 4.1); "nine_crop" a 3x3 grid of crops, unreflected (the test
            on CIFAR-10 in the 2012 source, cuda-convnet2 and some versions of cuda-convnet).
        view: which view, 0 <= view < VIEWS[views]; with an array, one program serves all.
    """
    border = images_BSSC.shape[1] - augmentation.crop
    return inputs(images_BSSC, fixed_view(views, view, border), augmentation, statistics)


class Views(NamedTuple):
    """One view of each image; arrays have a single row if all images share it."""

    corners_B2: jax.Array  # int32 (row, column) of the crop's upper left pixel
    flip_B: jax.Array  # bool, whether it is reflected
    shift_BC: jax.Array | None = None  # colour noise, added to every pixel
    divisor: jax.Array | float | None = None  # of the noisy image


def random_views(
    key: jax.Array,
    augmentation: Augmentation,
    statistics: Statistics,
    border: int,
    examples_B: jax.Array,
    noise_on: jax.Array | float = 1.0,
) -> Views:
    """The views that `training_inputs` draws; images are `border` pixels larger than a crop."""
    crop_key, flip_key, noise_key = jax.random.split(key, 3)
    chunks_B = examples_B // augmentation.crop_chunk

    def corner(key):  # all (border + 1)^2 crops are equally likely
        return jax.random.randint(key, (2,), 0, border + 1, jnp.int32)

    corners_B2 = jnp.full((1, 2), border // 2, jnp.int32)
    if augmentation.random_crop:
        corners_B2 = jax.vmap(corner)(_keys(crop_key, chunks_B))
    flip_B = jnp.zeros(1, bool)
    if augmentation.flip:
        half = jnp.float32(0.5)
        flip_B = jax.vmap(lambda key: jax.random.bernoulli(key, half))(_keys(flip_key, chunks_B))
    if not augmentation.colour_noise:
        return Views(corners_B2, flip_B)

    def alphas(key):
        return jax.random.normal(key, (3,), jnp.float32)

    alphas_B3 = augmentation.colour_noise * jax.vmap(alphas)(_keys(noise_key, examples_B))
    lambdas = jnp.asarray(statistics.eigenvalues)
    if augmentation.colour_scale == "deviation":
        lambdas = jnp.sqrt(lambdas)
    # [p1, p2, p3] [alpha1 lambda1, alpha2 lambda2, alpha3 lambda3]^T
    shift_BC = noise_on * (alphas_B3 * lambdas) @ statistics.eigenvectors.T
    divisor = 1 + noise_on * augmentation.colour_noise if augmentation.divide_by_noise else None
    return Views(corners_B2, flip_B, shift_BC, divisor)


def fixed_view(views: str, view: jax.Array | int, border: int) -> Views:
    """The view that `evaluation_inputs` looks up; images are `border` pixels larger than a crop."""
    middle = border // 2
    corners = {
        "centre": [(middle, middle)],
        "ten_crop": [(0, 0), (0, border), (middle, middle), (border, 0), (border, border)],
        "nine_crop": [(y, x) for y in (0, middle, border) for x in (0, middle, border)],
    }[views]
    corners_12 = jnp.array(corners, jnp.int32)[view % len(corners)][None]
    return Views(corners_12, jnp.array(view >= len(corners))[None])


def inputs(
    images_BSSC: jax.Array,
    views: Views,
    augmentation: Augmentation,
    statistics: Statistics | None,
) -> jax.Array:
    """The views minus the mean plus the noise; mean="pixel" needs no `statistics`."""
    side, corners_B2 = augmentation.crop, views.corners_B2
    x_BHWC = _crop(images_BSSC, corners_B2, side).astype(jnp.float32)
    if augmentation.mean == "pixel":
        x_BHWC = _reflect(x_BHWC, views.flip_B) - jnp.array(augmentation.mean_pixel, jnp.float32)
    else:
        assert statistics is not None
        mean_SSC = jnp.asarray(statistics.mean_HWC)
        if augmentation.mean == "crop":  # at the crop's own place, before the reflection
            x_BHWC = _reflect(x_BHWC - _crop(mean_SSC[None], corners_B2, side), views.flip_B)
        else:
            x_BHWC = _reflect(x_BHWC, views.flip_B) - centre(mean_SSC, side)
    if views.shift_BC is not None:
        x_BHWC = x_BHWC + views.shift_BC[:, None, None, :]
    return x_BHWC if views.divisor is None else x_BHWC / views.divisor


def _keys(key: jax.Array, numbers_B: jax.Array) -> jax.Array:
    return jax.vmap(jax.random.fold_in, (None, 0))(key, numbers_B)


def _crop(images_BSSC: jax.Array, corners_B2: jax.Array, side: int) -> jax.Array:
    """One square of each image; of a single image, a square at each of `corners_B2`."""
    channels, zero = images_BSSC.shape[-1], jnp.int32(0)
    if len(corners_B2) == 1:
        corner = (zero, *corners_B2[0], zero)
        size = (images_BSSC.shape[0], side, side, channels)  # len() fails in an export
        return jax.lax.dynamic_slice(images_BSSC, corner, size)

    def crop(image_SSC, at):
        return jax.lax.dynamic_slice(image_SSC, (*at, zero), (side, side, channels))

    if len(images_BSSC) == 1:
        return jax.vmap(crop, (None, 0))(images_BSSC[0], corners_B2)
    return jax.vmap(crop)(images_BSSC, corners_B2)


def _reflect(x_BHWC: jax.Array, flip_B: jax.Array) -> jax.Array:
    return jnp.where(flip_B[:, None, None, None], x_BHWC[:, :, ::-1], x_BHWC)


def centre(image_SSC: jax.Array, side: int) -> jax.Array:
    """The central square of an image."""
    start = (image_SSC.shape[0] - side) // 2
    return image_SSC[start : start + side, start : start + side]
