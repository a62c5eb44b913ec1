"""alexnet.data.augment: every crop can come, is exact, and depends on key and example alone."""

import functools
import itertools

import jax
import numpy as np
import pytest
import scipy.stats

from alexnet.data import augment
from alexnet.data.augment import VIEWS, Augmentation
from alexnet.data.statistics import Statistics
from alexnet.errors import UserError

pytestmark = pytest.mark.usefixtures("compile_quickly")


# cuda-convnet2's published statistics of ImageNet
DEVIATIONS = np.array([19.7208, 37.0939, 121.7801])
VECTORS = np.array(
    [[0.41796, -0.71258, -0.56351], [-0.81698, -0.02354, -0.57618], [0.39731, 0.70120, -0.59200]]
)


def statistics(side: int, mean: np.ndarray | float = 0.0) -> Statistics:
    mean = np.broadcast_to(np.float32(mean), (side, side, 3))
    return Statistics(mean, np.float32(DEVIATIONS**2), np.float32(VECTORS))


def images(batch: int, side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), np.uint8)


def numbered(batch: int, side: int) -> np.ndarray:
    """Images whose pixels hold their own row, column and 0."""
    one = np.zeros((side, side, 3), np.uint8)
    one[..., 0] = np.arange(side)[:, None]
    one[..., 1] = np.arange(side)
    return np.broadcast_to(one, (batch, side, side, 3))


@functools.partial(jax.jit, static_argnums=2)
def train(images, key, augmentation, statistics, **options):
    return augment.training_inputs(images, key, augmentation, statistics, **options)


def views(
    side: int, batch: int, augmentation: Augmentation, key: int = 0, first: int = 0
) -> np.ndarray:
    """[batch, (row, column, reflected)] of the crops; nothing else changes these images."""
    found = train(
        numbered(batch, side),
        jax.random.key(key),
        augmentation,
        statistics(side),
        examples_B=first + np.arange(batch),
    )
    columns = np.array(found[:, 0, :, 1])
    reflected = columns[:, 0] > columns[:, 1]
    return np.stack([found[:, 0, 0, 0], columns.min(1), reflected], 1).astype(int)


def plain(crop: int, **augmentation) -> Augmentation:
    return Augmentation(crop, **({"colour_noise": 0.0} | augmentation))


# --- Crops and reflections ------------------------------------------------------------------------


def test_there_are_2178_views_equally_likely_not_the_texts_2048():
    """A border of 32 pixels has 33 places in each direction: 33 * 33 * 2."""
    drawn = np.concatenate([views(34, 4000, plain(2), key) for key in range(10)])
    found, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(found) == 2178
    assert set(map(tuple, found)) == set(itertools.product(range(33), range(33), range(2)))
    assert scipy.stats.chisquare(counts).pvalue > 0.001
    for column in drawn.T:  # where few cells tell small differences
        assert scipy.stats.chisquare(np.unique(column, return_counts=True)[1]).pvalue > 0.001


def test_a_crop_is_a_rectangle_of_the_image_and_a_reflection_its_mirror():
    where = views(9, 12, plain(5), key=3)
    assert 0 < where[:, 2].sum() < 12  # both kinds are seen
    stored = images(12, 9)
    found = train(stored, jax.random.key(3), plain(5), statistics(9))
    assert found.dtype == np.float32
    for n, (row, column, reflected) in enumerate(where):
        crop = stored[n, row : row + 5, column : column + 5].astype(float)
        np.testing.assert_array_equal(found[n], crop[:, ::-1] if reflected else crop)


@pytest.mark.parametrize("mean", ["crop", "centre"])
def test_the_mean_image_is_subtracted_at_the_crops_place_or_at_the_centre(mean):
    augmentation = plain(5, flip=False)
    where = views(9, 12, augmentation, key=3)
    stored, average = images(12, 9), np.random.default_rng(1).uniform(0, 255, (9, 9, 3))
    augmentation = plain(5, flip=False, mean=mean)
    found = train(stored, jax.random.key(3), augmentation, statistics(9, average))
    for n, (row, column, _) in enumerate(where):
        crop = stored[n, row : row + 5, column : column + 5]
        y, x = (row, column) if mean == "crop" else (2, 2)
        expected = crop - average[y : y + 5, x : x + 5]
        np.testing.assert_allclose(found[n], expected, rtol=1e-5, atol=1e-4)


def test_a_mean_image_at_the_crops_place_is_reflected_along():
    """Section 4.1 crops and reflects images that are centred already (section 2)."""
    stored, average = images(1, 9), np.random.default_rng(1).uniform(0, 255, (9, 9, 3))
    where = views(9, 12, plain(5), key=3)
    found = train(np.repeat(stored, 12, 0), jax.random.key(3), plain(5), statistics(9, average))
    for n, (row, column, reflected) in enumerate(where):
        crop = (stored[0] - average)[row : row + 5, column : column + 5]
        expected = crop[:, ::-1] if reflected else crop
        np.testing.assert_allclose(found[n], expected, rtol=1e-5, atol=1e-4)


def test_the_centre_of_the_mean_image_is_subtracted_after_the_reflection():
    """As the source does, so that the mean image itself is never reflected."""
    stored, average = images(1, 9), np.random.default_rng(1).uniform(0, 255, (9, 9, 3))
    centre, augmentation = average[2:7, 2:7], plain(5, mean="centre")
    where = views(9, 12, augmentation, key=3)
    assert 0 < where[:, 2].sum() < 12
    twelve = np.repeat(stored, 12, 0)
    found = train(twelve, jax.random.key(3), augmentation, statistics(9, average))
    for n, (row, column, reflected) in enumerate(where):
        crop = stored[0, row : row + 5, column : column + 5].astype(float)
        expected = (crop[:, ::-1] if reflected else crop) - centre
        np.testing.assert_allclose(found[n], expected, rtol=1e-5, atol=1e-4)
    seen = evaluate(stored, 9, 5, "ten_crop", average, mean="centre")
    mirrored = stored[:, 2:7, 2:7][:, :, ::-1] - centre
    near = [np.allclose(view, mirrored, rtol=1e-5, atol=1e-4) for view in seen]
    assert sum(near[5:]) == 1
    assert not any(near[:5])


def test_without_randomness_it_is_the_centre_crop():
    stored, average = images(3, 9), np.random.default_rng(1).uniform(0, 255, (9, 9, 3))
    augmentation = plain(6, random_crop=False, flip=False)
    found = train(stored, jax.random.key(0), augmentation, statistics(9, average))
    expected = stored[:, 1:7, 1:7] - average[1:7, 1:7]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_a_chunk_shares_its_crop_and_reflection_but_not_its_noise():
    augmentation = plain(9, crop_chunk=4)
    where = views(40, 64, augmentation).reshape(16, 4, 3)
    assert (where == where[:, :1]).all()
    assert len(np.unique(where[:, 0], axis=0)) > 12
    # a chunk is of consecutive examples of the whole batch, wherever a device's part begins
    assert (views(40, 6, augmentation, first=2) == where.reshape(64, 3)[2:8]).all()

    augmentation = Augmentation(9, crop_chunk=4)
    found = train(
        np.zeros((8, 40, 40, 3), np.uint8), jax.random.key(0), augmentation, statistics(40)
    )
    assert len(np.unique(found[:, 0, 0], axis=0)) == 8


# --- Randomness -----------------------------------------------------------------------------------


def test_the_same_key_gives_the_same_views_another_key_others():
    augmentation, stored = Augmentation(5), images(16, 20)
    once, again, other = (
        np.array(train(stored, jax.random.key(key), augmentation, statistics(20)))
        for key in (1, 1, 2)
    )
    np.testing.assert_array_equal(once, again)
    assert (once != other).any(axis=(1, 2, 3)).all()


def test_views_do_not_depend_on_how_a_batch_is_split():
    augmentation, stored, key = Augmentation(5, crop_chunk=3), images(8, 20), jax.random.key(1)
    whole = train(stored, key, augmentation, statistics(20))
    parts = [
        train(stored[part], key, augmentation, statistics(20), examples_B=np.arange(8)[part])
        for part in (slice(0, 4), slice(4, 8))
    ]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-4)


def test_place_reflection_and_noise_are_independent():
    augmentation = Augmentation(2)
    batch = 4000
    where = views(6, batch, plain(2))
    found = train(
        np.zeros((batch, 6, 6, 3), np.uint8), jax.random.key(0), augmentation, statistics(6)
    )
    noise = np.array(found[:, 0, 0]) @ VECTORS
    together = np.concatenate([where, noise, where[::-1], noise[::-1]], 1)  # and between examples
    correlations = np.corrcoef(together.T) - np.eye(12)
    assert np.abs(correlations).max() < 5 / np.sqrt(batch)


# --- Colour noise ---------------------------------------------------------------------------------


def noise(augmentation: Augmentation, batch: int = 20_000, **options) -> np.ndarray:
    """The noise that is added to each of many grey images."""
    stored = np.full((batch, 2, 2, 3), 100, np.uint8)
    found = np.array(
        train(stored, jax.random.key(0), augmentation, statistics(2, 100.0), **options)
    )
    assert (found == found[:, :1, :1]).all()  # the same at every pixel
    return found[:, 0, 0].astype(float)


@pytest.mark.parametrize(("scale", "power"), [("deviation", 1), ("variance", 2)])
def test_noise_has_the_covariance_of_the_principal_components(scale, power):
    sample = noise(Augmentation(2, colour_scale=scale))
    # 0.01 V diag(lambda) V^T: 0.1 standard deviations along each component
    expected = 0.01 * VECTORS @ np.diag((DEVIATIONS**2) ** power) @ VECTORS.T
    tolerance = 5 * np.sqrt(2 / len(sample)) * expected.max()
    np.testing.assert_allclose(np.cov(sample.T), expected, rtol=0, atol=tolerance)
    along = sample @ np.linalg.inv(VECTORS.T)  # also the smallest component is exact
    relative = along.std(0) / (0.1 * DEVIATIONS**power)
    np.testing.assert_allclose(relative, 1, atol=5 / np.sqrt(2 * len(sample)))
    assert (np.abs(along.mean(0)) < 5 * along.std(0) / np.sqrt(len(sample))).all()
    assert np.abs(scipy.stats.kurtosis(along)).max() < 0.2  # normal


def test_on_cuda_convnet2s_statistics_it_is_7_grey_levels_or_an_absurd_840():
    # R: .1 sqrt((.41796 19.72)^2 + (.71258 37.09)^2 + (.56351 121.78)^2) = 7.40
    sizes = noise(Augmentation(2)).std(0)
    np.testing.assert_allclose(sizes, [7.40, 7.20, 7.70], rtol=0.03)
    # the same with 388.9, 1375.96 and 14830.4
    sizes = noise(Augmentation(2, colour_scale="variance")).std(0)
    np.testing.assert_allclose(sizes, [841.6, 855.1, 883.2], rtol=0.03)


def test_noise_scales_with_the_alphas_and_can_be_absent():
    small, large = noise(Augmentation(2, colour_noise=0.05)), noise(Augmentation(2))
    np.testing.assert_allclose(2 * small, large, rtol=1e-4, atol=1e-4)
    assert (noise(plain(2), batch=10) == 0).all()


def test_noise_can_be_turned_off_at_run_time():
    assert (noise(Augmentation(2), batch=10, noise_on=0.0) == 0).all()
    stored = images(4, 9)
    augmentation = Augmentation(5, divide_by_noise=True)
    off = train(stored, jax.random.key(0), augmentation, statistics(9, 100), noise_on=0.0)
    never = train(stored, jax.random.key(0), plain(5), statistics(9, 100))
    np.testing.assert_array_equal(off, never)


def test_the_source_divides_the_noisy_image():
    stored = images(4, 9)
    found, divided = (
        train(stored, jax.random.key(0), Augmentation(5, divide_by_noise=d), statistics(9, 100))
        for d in (False, True)
    )
    np.testing.assert_allclose(divided, found / 1.1, rtol=1e-5)


# --- Test views -----------------------------------------------------------------------------------


def evaluate(
    stored, side: int, crop: int, views: str, average=0.0, **augmentation
) -> list[np.ndarray]:
    augmentation = Augmentation(crop, **augmentation)
    return [
        np.array(
            augment.evaluation_inputs(stored, augmentation, statistics(side, average), views, view)
        )
        for view in range(VIEWS[views])
    ]


def test_ten_crop_is_four_corners_and_centre_and_their_reflections():
    stored = images(2, 256)
    found = evaluate(stored, 256, 224, "ten_crop")
    places = [(0, 0), (0, 32), (16, 16), (32, 0), (32, 32)]
    crops = [stored[:, y : y + 224, x : x + 224] for y, x in places]
    expected = [*crops, *(crop[:, :, ::-1] for crop in crops)]
    assert len(found) == 10
    for one in expected:
        assert sum(np.array_equal(view, one) for view in found) == 1
    assert all(view.dtype == np.float32 for view in found)


def test_nine_crop_is_a_grid_without_reflections():
    stored = images(2, 32)
    found = evaluate(stored, 32, 24, "nine_crop")
    assert len(found) == 9
    for y, x in itertools.product((0, 4, 8), (0, 4, 8)):
        one = stored[:, y : y + 24, x : x + 24]
        assert sum(np.array_equal(view, one) for view in found) == 1


def test_centre_is_one_view():
    stored, average = images(2, 9), np.random.default_rng(1).uniform(0, 255, (9, 9, 3))
    [found] = evaluate(stored, 9, 5, "centre", average)
    expected = stored[:, 2:7, 2:7] - average[2:7, 2:7]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("mean", ["crop", "centre"])
def test_views_subtract_the_mean_like_training(mean):
    stored, average = images(2, 9), np.random.default_rng(1).uniform(0, 255, (9, 9, 3))
    found = evaluate(stored, 9, 5, "nine_crop", average, mean=mean)[0]  # upper left
    at = slice(0, 5) if mean == "crop" else slice(2, 7)
    expected = stored[:, :5, :5] - average[at, at]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_a_mean_of_one_colour_is_subtracted_everywhere():
    colour = (123.5, 117.0, 104.25)
    stored = images(12, 9)
    where = views(9, 12, plain(5), key=3)
    augmentation = plain(5, mean="pixel", mean_pixel=colour)
    found = train(stored, jax.random.key(3), augmentation, statistics(9))
    for n, (row, column, reflected) in enumerate(where):
        expected = stored[n, row : row + 5, column : column + 5] - np.array(colour)
        np.testing.assert_array_equal(found[n], expected[:, ::-1] if reflected else expected)
    average = np.full((9, 9, 3), 99)  # unused
    seen = evaluate(stored, 9, 5, "ten_crop", average, mean="pixel", mean_pixel=colour)
    np.testing.assert_array_equal(seen[1], stored[:, :5, 4:] - np.array(colour))
    np.testing.assert_array_equal(seen[6], stored[:, :5, :3:-1] - np.array(colour))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": 0}, "crop=0: at least 1"),
        ({"colour_noise": -0.1}, "colour_noise=-0.1: 0 or more"),
        ({"colour_noise": float("nan")}, "colour_noise=nan: 0 or more"),
        ({"colour_scale": "std"}, "colour_scale='std': deviation or variance"),
        ({"crop_chunk": 0}, "crop_chunk=0: at least 1"),
        ({"mean": "center"}, "mean='center': crop, centre or pixel"),
        ({"mean": "pixel"}, r"mean_pixel=\(\): three numbers with mean=pixel"),
        ({"mean_pixel": (1, 2, 3)}, r"mean_pixel=\(1, 2, 3\): three numbers with"),
        ({"mean": "pixel", "mean_pixel": ("r", 2, 3)}, "mean_pixel="),
    ],
)
def test_impossible_values_are_clear_errors(options, message):
    with pytest.raises(UserError, match=message):
        Augmentation(**({"crop": 224} | options))
