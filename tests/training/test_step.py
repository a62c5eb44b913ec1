"""A step is augment, apply, the gradient of the loss and the update; no more."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support import reference

from alexnet.data.augment import VIEWS, Augmentation, evaluation_inputs
from alexnet.data.statistics import Statistics
from alexnet.devices import mesh as meshes
from alexnet.models import network, table
from alexnet.training import forward, optimizer, step
from alexnet.training.schedule import Hyperparameters, Milestones

pytestmark = pytest.mark.usefixtures("compile_quickly")

SIDE, CROP, BATCH, CLASSES = 10, 8, 4, 6
NET = table.Net(
    "tiny",
    CROP,
    CLASSES,
    2,
    (
        table.Conv("conv1", 4, 3, stride=2, std=0.01),
        table.Activation("relu1"),
        table.Pool("pool1"),
        table.Dense("fc2", 8, std=0.1),
        table.Dropout("drop2"),
        table.Dense("fc3", CLASSES, std=0.3),
    ),
)
STILL = Augmentation(CROP, random_crop=False, flip=False, colour_noise=0.0)
LABELS = np.array([5, 0, 2, 2], np.int32)


def dataset_statistics() -> Statistics:
    mean = np.random.default_rng(7).uniform(100, 150, (SIDE, SIDE, 3)).astype(np.float32)
    return Statistics(mean, np.float32([900, 90, 9]), np.eye(3, dtype=np.float32))


def batch(seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    stored = random.integers(0, 256, (BATCH, SIDE, SIDE, 3), np.uint8)
    return {"image": stored, "label": LABELS}


def without_dropout() -> table.Net:
    rows = tuple(row for row in NET.rows if not isinstance(row, table.Dropout))
    return table.Net("tiny", CROP, CLASSES, 2, rows)


def one_device() -> jax.sharding.Mesh:
    return meshes.make(towers=2, batch_size=BATCH, data=1, tower=1)


class Tiny:
    """A tiny net and its compiled steps."""

    def __init__(
        self, net: table.Net = NET, augmentation: Augmentation | None = None, seed: int = 0
    ):
        mesh = one_device()
        shapes = jax.eval_shape(lambda: network.init(net, jax.random.key(0)))
        self.sgd = optimizer.build(params=shapes, weight_decay=0.1)
        self.augmentation = augmentation or Augmentation(CROP)
        params = meshes.by_tower(mesh, shapes)
        shardings = step.state_shardings(self.sgd, shapes, params, meshes.replicated(mesh))
        init = functools.partial(network.init, net)
        self.key = step.key_of(seed)
        self.init = lambda: step.make_init(init, self.sgd, shardings)(self.key)
        self.forward = forward.training(net, mesh, self.augmentation)
        self.train_step = step.make_train_step(self.forward, self.sgd, shardings)

    def hyperparameters(self, rate: float = 0.01, noise: float = 1.0) -> Hyperparameters:
        rates = Milestones(rate=rate)(0, [], ["conv1", "fc2", "fc3"]).rates
        return Hyperparameters(rates, np.float32(noise))

    def steps(self, count: int, **hyperparameters) -> tuple[step.TrainState, list[float]]:
        state, losses = self.init(), []
        for _ in range(count):
            state, sums = self.train_step(
                state,
                batch(),
                self.hyperparameters(**hyperparameters),
                dataset_statistics(),
                self.key,
            )
            losses.append(float(sums.loss))
        return state, losses


@pytest.fixture(scope="module")
def tiny() -> Tiny:
    return Tiny()


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_a_step_of_a_linear_net_by_hand(parts):
    """Also if parts of the batch go through the net one after the other."""

    def logits(params, images, key, examples, noise_on, statistics):
        return images.reshape(len(images), -1) @ params["fc1"]["kernel"] + params["fc1"]["bias"]

    random = np.random.default_rng(0)
    params = {"fc1": {"kernel": random.normal(size=(3, 6)), "bias": random.normal(size=6)}}
    params = jax.tree.map(np.float32, params)
    sgd = optimizer.build(params=params, momentum=0.9, weight_decay=0.1)
    state = step.TrainState(jnp.int32(4), params, sgd.init(params))
    images = random.normal(size=(BATCH, 1, 1, 3)).astype(np.float32)
    now = Hyperparameters({"fc1": {"kernel": np.float32(0.01), "bias": np.float32(0.02)}}, 1.0)
    mesh = one_device()
    in_parts = functools.partial(meshes.parts, mesh, parts)
    train_step = step.make_train_step(logits, sgd, meshes.replicated(mesh), in_parts)
    batch = {"image": images, "label": LABELS}
    state, sums = train_step(state, batch, now, dataset_statistics(), step.key_of(0))

    x, kernel = images.reshape(BATCH, 3).astype(float), params["fc1"]["kernel"]
    log_probs = reference.log_softmax(x @ kernel + params["fc1"]["bias"])
    slope = (np.exp(log_probs) - np.eye(6)[LABELS]) / BATCH
    np.testing.assert_allclose(
        state.params["fc1"]["kernel"], kernel - 0.01 * (x.T @ slope + 0.1 * kernel), rtol=1e-5
    )
    np.testing.assert_allclose(
        state.params["fc1"]["bias"], params["fc1"]["bias"] - 0.02 * slope.sum(0), rtol=1e-5
    )
    assert sums.loss == pytest.approx(-log_probs[np.arange(BATCH), LABELS].sum(), rel=1e-5)
    assert (int(state.step), int(sums.count)) == (5, BATCH)


def test_two_steps_are_their_parts_put_together_by_hand():
    net = without_dropout()
    tiny = Tiny(net, STILL)
    state, average = tiny.init(), dataset_statistics().mean_HWC
    params = jax.device_get(state.params)
    velocity = jax.tree.map(np.zeros_like, params)

    @jax.jit
    def loss_and_gradient(params, x):
        def loss(params):
            logits, _ = network.apply(net, params, x)
            entropy = optax.softmax_cross_entropy_with_integer_labels(logits, LABELS)
            return entropy.mean(), logits

        return jax.value_and_grad(loss, has_aux=True)(params)

    for number, eps in enumerate((0.01, 0.001)):
        images = batch(number)
        state, sums = tiny.train_step(
            state, images, tiny.hyperparameters(eps), dataset_statistics(), tiny.key
        )

        x = (images["image"] - average)[:, 1:9, 1:9]
        (loss, logits), gradient = loss_and_gradient(params, x)
        for layer, leaves in params.items():
            for leaf, w in leaves.items():
                rate, decay = (eps, 0.1) if leaf == "kernel" else (2 * eps, 0.0)
                v = 0.9 * velocity[layer][leaf] - rate * (decay * w + gradient[layer][leaf])
                velocity[layer][leaf], leaves[leaf] = v, w + v
        assert float(sums.loss) == pytest.approx(BATCH * float(loss), rel=1e-5)
        assert int(sums.top1_errors) == (np.argmax(logits, 1) != LABELS).sum()
        assert int(sums.count) == BATCH
        assert int(state.step) == number + 1

    for layer, leaves in params.items():
        for leaf, expected in leaves.items():
            assert np.abs(velocity[layer][leaf]).max() > 0
            np.testing.assert_allclose(state.params[layer][leaf], expected, rtol=1e-5, atol=1e-6)


def test_the_same_seed_gives_the_same_bits_another_seed_others(tiny):
    first, losses = tiny.steps(3)
    again, losses_again = tiny.steps(3)
    assert losses == losses_again
    jax.tree.map(np.testing.assert_array_equal, first, again)
    _, others = Tiny(seed=1).steps(3)
    assert set(losses).isdisjoint(others)


@pytest.mark.parametrize("random", ["random_crop", "flip", "colour_noise", "dropout"])
def test_each_step_draws_other_numbers(random):
    """At a rate of 0 only the randomness tells one step from the next."""
    net = NET if random == "dropout" else without_dropout()
    options = {"random_crop": False, "flip": False, "colour_noise": 0.0}
    options |= {} if random == "dropout" else {random: 0.5 if random == "colour_noise" else True}
    _, losses = Tiny(net, Augmentation(CROP, **options)).steps(6, rate=0.0)
    assert len(set(losses)) > 3


def test_without_randomness_each_step_is_the_same():
    _, losses = Tiny(without_dropout(), STILL).steps(3, rate=0.0)
    assert len(set(losses)) == 1


def test_colour_noise_can_be_turned_off():
    augmentation = Augmentation(CROP, random_crop=False, flip=False)
    tiny = Tiny(without_dropout(), augmentation)
    assert len(set(tiny.steps(3, rate=0.0)[1])) == 3
    assert len(set(tiny.steps(3, rate=0.0, noise=0.0)[1])) == 1


def test_a_step_depends_on_its_number_not_on_the_history(tiny):
    """So a run resumed from a checkpoint goes on as it would have."""
    state, _ = tiny.steps(2)
    copy = jax.tree.map(jnp.array, jax.device_get(state))
    onward, resumed = (
        tiny.train_step(s, batch(9), tiny.hyperparameters(), dataset_statistics(), tiny.key)[0]
        for s in (state, copy)
    )
    jax.tree.map(np.testing.assert_array_equal, onward, resumed)


def test_norms_are_of_all_numbers_but_counters():
    opt_state = {"velocity": jnp.float16([6.0, -8.0]), "count": jnp.int32(100)}
    state = step.TrainState(jnp.int32(7), {"kernel": jnp.float32([[3.0], [4.0]])}, opt_state)
    assert [norm.item() for norm in step.norms(state)] == [5.0, 10.0]
    assert step.norms(state)[1].dtype == jnp.float32


def test_a_step_donates_its_state(tiny):
    state = tiny.init()
    tiny.train_step(state, batch(), tiny.hyperparameters(), dataset_statistics(), tiny.key)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))


def test_new_rates_do_not_recompile(tiny):
    tiny.steps(1, rate=0.01)
    compiled = tiny.train_step._cache_size()
    tiny.steps(2, rate=0.5, noise=0.0)
    assert tiny.train_step._cache_size() == compiled


def test_a_few_steps_learn_the_batch():
    _, losses = Tiny(without_dropout(), STILL).steps(30, rate=0.002)
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("views", VIEWS)
def test_evaluation_averages_the_softmax_over_the_views(views):
    augmentation, average = Augmentation(CROP), dataset_statistics().mean_HWC
    tiny = Tiny(augmentation=augmentation)
    params = tiny.init().params
    logits = forward.evaluation(NET, one_device(), augmentation, views)
    eval_step = step.make_eval_step(logits, VIEWS[views])
    images = batch()
    labels = np.array([5, 0, 2, -1], np.int32)  # the last is padding
    found, log_probs = eval_step(params, images | {"label": labels}, dataset_statistics())

    places = {
        "centre": [(1, 1)],
        "ten_crop": [(0, 0), (0, 2), (1, 1), (2, 0), (2, 2)],
        "nine_crop": [(y, x) for y in (0, 1, 2) for x in (0, 1, 2)],
    }[views]
    centred = images["image"] - average
    crops = [centred[:, y : y + CROP, x : x + CROP] for y, x in places]
    if views == "ten_crop":
        crops += [crop[:, :, ::-1] for crop in crops]
    logits = np.stack([network.apply(NET, params, np.float32(crop))[0] for crop in crops])
    probs = np.exp(reference.log_softmax(logits.astype(float))).mean(0)
    np.testing.assert_allclose(np.exp(log_probs), probs, rtol=1e-4)
    probs = probs[:3]
    true = probs[np.arange(3), labels[:3]]
    places = (probs > true[:, None]).sum(1)
    assert float(found.loss) == pytest.approx(-np.log(true).sum(), rel=1e-5)
    assert int(found.top1_errors) == (places >= 1).sum()
    assert int(found.top5_errors) == (places >= 5).sum()
    assert int(found.count) == 3


def test_views_whose_probabilities_vanish_in_float32_still_count():
    """exp(-200) is 0 in float32; the mean of two such views has a logarithm all the same."""

    def logits(params, images, statistics, view):
        return jnp.tile(jnp.float32([0.0, -200, 0, 0, 0, 0]), (len(images), 1))

    eval_step = step.make_eval_step(logits, 10)
    images = batch() | {"label": np.full(BATCH, 1, np.int32)}
    found, _ = eval_step({}, images, dataset_statistics())
    assert float(found.loss) == pytest.approx(BATCH * (200 + np.log(5)), rel=1e-5)


def test_evaluation_drops_nothing():
    """The centre's log-probabilities are those of apply without a key: no noise, no dropout."""
    tiny = Tiny()
    params = tiny.init().params
    x = evaluation_inputs(batch()["image"], tiny.augmentation, dataset_statistics())
    eval_step = step.make_eval_step(forward.evaluation(NET, one_device(), tiny.augmentation))
    found, _ = eval_step(params, batch(), dataset_statistics())
    expected = reference.log_softmax(np.array(network.apply(NET, params, x)[0], float))
    loss = -expected[np.arange(BATCH), LABELS].sum()
    assert float(found.loss) == pytest.approx(loss, rel=1e-5)
