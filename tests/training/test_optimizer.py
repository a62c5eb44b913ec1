"""The update rule: v <- .9 v - decay eps w - eps g; w <- w + v, against a float64 loop."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.tiny import ROOT

from alexnet import config as configs
from alexnet.errors import UserError
from alexnet.models.build import build
from alexnet.models.table import Weighted
from alexnet.training import optimizer
from alexnet.training.settings import KINDS

STEPS, DROP = 12, 5  # the rate is divided by 10 after five steps


def start(seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    random = np.random.default_rng(seed)
    return {
        name: {"kernel": random.normal(size=(2, 3)), "bias": random.normal(size=(2,))}
        for name in ("conv1", "conv2", "fc8")
    }


def rates(eps: float, **layers: float) -> optimizer.Rates:
    return {
        name: {"kernel": layers.get(name, eps), "bias": 2 * layers.get(name, eps)}
        for name in start()
    }


def dropping(step: int) -> optimizer.Rates:
    return rates(0.1 if step < DROP else 0.01)


def by_hand(decay_of, rates_at, momentum: float = 0.9):
    """Parameters after STEPS steps, from the formula of section 5."""
    w = start()
    v = {name: dict.fromkeys(layer, 0.0) for name, layer in w.items()}
    for step in range(STEPS):
        gradients = start(seed=step + 1)
        for name, layer in w.items():
            for leaf in layer:
                eps, decay = rates_at(step)[name][leaf], decay_of(name, leaf)
                if eps == 0:  # the source's Weights.update does nothing
                    continue
                v[name][leaf] = (
                    momentum * v[name][leaf]
                    - decay * eps * w[name][leaf]
                    - eps * gradients[name][leaf]
                )
                w[name][leaf] = w[name][leaf] + v[name][leaf]
    return w


def run(rates_at, **options):
    """The same with alexnet.training.optimizer; [parameters after each step]."""
    params = jax.tree.map(np.float32, start())
    sgd = optimizer.build(params=params, **options)

    @jax.jit
    def update(gradients, velocity, params, rates):
        change, velocity = sgd.update(gradients, velocity, params, rates=rates)
        return optax.apply_updates(params, change), velocity

    velocity, history = sgd.init(params), []
    for step in range(STEPS):
        gradients = jax.tree.map(np.float32, start(seed=step + 1))
        params, velocity = update(gradients, velocity, params, rates_at(step))
        history.append(params)
    return history


def distance(a, b) -> float:
    return max(jax.tree.leaves(jax.tree.map(lambda x, y: np.abs(x - y).max(), a, b)))


def test_the_papers_rule_over_a_drop_of_the_rate():
    expected = by_hand(lambda _, leaf: 0.0005 if leaf == "kernel" else 0.0, dropping)
    assert distance(run(dropping)[-1], expected) < 1e-5


def test_decay_by_kind_and_by_layer():
    decays = {"weight_decay": 0.1, "bias_decay": 0.3, "layer_decay": (("fc8", 1.0), ("conv1", 0.0))}

    def decay_of(name, leaf):
        return 0.3 if leaf == "bias" else {"fc8": 1.0, "conv1": 0.0, "conv2": 0.1}[name]

    assert distance(run(dropping, **decays)[-1], by_hand(decay_of, dropping)) < 1e-5


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_momentum(momentum):
    found = run(dropping, momentum=momentum, weight_decay=0.0)[-1]
    assert distance(found, by_hand(lambda *_: 0.0, dropping, momentum)) < 1e-5


def test_layers_have_different_rates():
    def slow_conv1(_):
        return rates(0.1, conv1=0.001)

    found = run(slow_conv1, weight_decay=0.0)[-1]
    assert distance(found, by_hand(lambda *_: 0.0, slow_conv1)) < 1e-5


def test_a_layer_frozen_from_the_start_never_moves():
    for params in run(lambda _: rates(0.1, conv1=0.0), weight_decay=0.5, bias_decay=0.5):
        first = jax.tree.map(jnp.float32, start()["conv1"])
        jax.tree.map(np.testing.assert_array_equal, params["conv1"], first)
        assert distance(params["fc8"], start()["fc8"]) > 0.01


def test_a_layer_frozen_in_flight_stays_where_it_is():
    """As in the source (Weights.update does nothing where eps is 0): no coasting on velocity."""

    def frozen(step):
        return rates(0.1, conv1=0.1 if step < DROP else 0.0)

    history = run(frozen)
    assert distance(history[-1]["conv1"], history[DROP - 1]["conv1"]) == 0
    assert distance(history[-1]["fc8"], history[DROP - 1]["fc8"]) > 0.01


def test_a_thawed_layer_goes_on_with_the_velocity_it_had():
    def thawing(step):
        return rates(0.1, conv1=0.0 if DROP <= step < DROP + 3 else 0.1)

    found = run(thawing, weight_decay=0.0)[-1]
    assert distance(found, by_hand(lambda *_: 0.0, thawing)) < 1e-5


def test_optax_sgd_is_another_rule_from_the_first_drop_on():
    """optax.sgd keeps gradients in the velocity, and scales all of it by the new rate."""
    params = jax.tree.map(np.float32, start())
    schedule = optax.piecewise_constant_schedule(0.1, {DROP: 0.1})
    theirs = optax.chain(optax.add_decayed_weights(0.0005), optax.sgd(schedule, momentum=0.9))
    state, apart = theirs.init(params), []

    def same_for_biases(step):
        return jax.tree.map(lambda _: 0.1 if step < DROP else 0.01, start())

    for step, ours in enumerate(run(same_for_biases, bias_decay=0.0005)):
        gradients = jax.tree.map(np.float32, start(seed=step + 1))
        change, state = theirs.update(gradients, state, params)
        params = optax.apply_updates(params, change)
        apart.append(distance(params, ours))
    assert max(apart[:DROP]) < 1e-5
    assert min(apart[DROP:]) > 0.01


def test_it_is_the_chain_that_its_docstring_says_to_the_last_bit():
    params = jax.tree.map(np.float32, start())
    kernels = jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)
    theirs = optax.chain(
        optax.add_decayed_weights(0.0005, mask=kernels),
        optax.stateless(
            lambda updates, _: jax.tree.map(lambda u, rate: -rate * u, updates, rates(0.1))
        ),
        optax.trace(0.9),
    )

    @jax.jit
    def update(gradients, state, params):
        change, state = theirs.update(gradients, state, params)
        return optax.apply_updates(params, change), state

    state = theirs.init(params)
    for step, ours in enumerate(run(lambda _: rates(0.1))):
        params, state = update(jax.tree.map(np.float32, start(seed=step + 1)), state, params)
        assert distance(params, ours) == 0


def others(name):
    """Optax's own optimiser for a constant rate of 0.1, decay of 0.01 for all."""
    if name == "adamw":
        return optax.adamw(0.1, weight_decay=0.01)
    return optax.chain(optax.add_decayed_weights(0.01), optax.sgd(0.1, 0.9, nesterov=True))


@pytest.mark.parametrize("name", ["adamw", "nesterov"])
def test_other_optimisers_are_optaxs(name):
    params, theirs = jax.tree.map(np.float32, start()), others(name)
    state = theirs.init(params)

    def constant(_):
        return jax.tree.map(lambda _: 0.1, start())

    for step, ours in enumerate(run(constant, name=name, weight_decay=0.01, bias_decay=0.01)):
        gradients = jax.tree.map(np.float32, start(seed=step + 1))
        change, state = theirs.update(gradients, state, params)
        params = optax.apply_updates(params, change)
        assert distance(params, ours) < 1e-5


@pytest.mark.parametrize("name", optimizer.OPTIMIZERS)
def test_every_optimiser_freezes_a_layer_with_all_it_keeps_of_it(name):
    def frozen(step):
        return rates(0.1, conv1=0.1 if step < DROP else 0.0)

    history = run(frozen, name=name)
    assert distance(history[-1]["conv1"], history[DROP - 1]["conv1"]) == 0
    assert distance(history[-1]["fc8"], history[DROP - 1]["fc8"]) > 0.01

    def kept(state, layer):
        leaves, _ = jax.tree_util.tree_flatten_with_path(state)
        return [leaf for path, leaf in leaves if layer in jax.tree_util.keystr(path)]

    params, gradients = (jax.tree.map(jnp.float32, start(seed)) for seed in (0, 1))
    rule = optimizer.build(params=params, name=name)
    _, before = rule.update(gradients, rule.init(params), params, rates=rates(0.1))
    _, after = rule.update(gradients, before, params, rates=rates(0.1, conv1=0.0))
    pairs = {layer: (kept(before, layer), kept(after, layer)) for layer in ("conv1", "fc8")}
    assert len(pairs["conv1"][0]) >= 2  # at least one number for each kernel and bias
    jax.tree.map(np.testing.assert_array_equal, *pairs["conv1"])
    assert all((old != new).all() for old, new in zip(*pairs["fc8"], strict=True))


CONVS = ("conv1", "conv2", "conv3")


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        # `wc` in cuda-convnet's layer-params-*.cfg
        ("80sec", dict.fromkeys(CONVS, 0.004) | {"fc64": 0.03, "fc10": 0.03}),
        ("19pct", dict.fromkeys(CONVS, 0.004) | {"fc10": 3}),
        ("19pct-translations", dict.fromkeys(CONVS, 0) | {"fc10": 0}),
        ("18pct", dict.fromkeys(CONVS, 0.004) | {"fc10": 1}),
        (
            "conv-local-13pct",
            {"conv1": 0, "conv2": 0, "local3": 0.004, "local4": 0.004, "fc10": 0.004},
        ),
        (
            "conv-local-11pct",
            {"conv1": 0, "conv2": 0, "local3": 0.004, "local4": 0.004, "fc10": 0.01},
        ),
    ],
)
def test_the_weight_decays_of_cuda_convnets_nets(variant, expected):
    config = configs.load(f"{ROOT}/configs/cifar10.py:{variant}", KINDS)
    net = configs.call(build, "net", config.net, classes=10)
    weighted = [row for row in net.rows if isinstance(row, Weighted)]
    ones = {row.name: {"kernel": jnp.ones(1), "bias": jnp.ones(1)} for row in weighted}
    rule = configs.call(optimizer.build, "optimizer", config.optimizer, params=ones)
    change, _ = rule.update(jax.tree.map(jnp.zeros_like, ones), rule.init(ones), ones, rates=ones)
    # of a weight of 1 that has no gradient, at a rate of 1, decay takes its share
    decays = {name: -float(layer["kernel"][0]) for name, layer in change.items()}
    assert decays == pytest.approx(expected)
    assert all(float(layer["bias"][0]) == 0 for layer in change.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "adamm"}, "name='adamm': choose one of .*; did you mean 'adamw'"),
        ({"name": "adamw", "momentum": 0.9}, "momentum: adamw has no such option"),
        ({"name": "adamw", "b2": 1.0}, "b2=1.0: from 0 up to, not including, 1"),
        ({"momentum": 1.0}, "momentum=1.0: from 0 up to"),
        ({"momentum": -0.1}, "momentum=-0.1"),
        ({"weight_decay": -1}, "weight_decay=-1: must be 0 or more"),
        ({"bias_decay": float("nan")}, "bias_decay=nan: must be 0 or more"),
        ({"layer_decay": (("fc8", -1),)}, "layer_decay.'fc8'.=-1: must be 0 or more"),
        ({"layer_decay": (("fc8", 1), ("fc8", 2))}, "layer_decay: 'fc8' is listed twice: keep one"),
        ({"layer_decay": (("fc9", 1),)}, "no layer 'fc9'; did you mean 'fc8'"),
        ({"layer_decay": ("fc8", 1)}, "'fc8' is not .layer, decay."),
        ({"layer_decay": (("fc8", "1"),)}, "'fc8', '1'. is not .layer, decay."),
        ({"layer_decay": ((["fc8"], 1),)}, "'fc8'., 1. is not .layer, decay."),
        ({"layer_decay": (("fc8", 1, 2),)}, "'fc8', 1, 2. is not .layer, decay."),
    ],
)
def test_impossible_values_are_clear_errors(options, message):
    with pytest.raises(UserError, match=message):
        optimizer.build(params=start(), **options)


@pytest.mark.parametrize(
    ("name", "options", "theirs"),
    [
        (
            "adamw",
            {"b1": 0.5, "b2": 0.6, "eps": 0.3},
            optax.adamw(0.1, 0.5, 0.6, 0.3, weight_decay=0.0),
        ),
        ("nesterov", {"momentum": 0.5}, optax.sgd(0.1, 0.5, nesterov=True)),
    ],
)
def test_options_are_optaxs(name, options, theirs):
    params = jax.tree.map(np.float32, start())
    state, same = theirs.init(params), jax.tree.map(lambda _: 0.1, start())
    for step, ours in enumerate(run(lambda _: same, name=name, weight_decay=0.0, **options)):
        change, state = theirs.update(jax.tree.map(np.float32, start(step + 1)), state, params)
        params = optax.apply_updates(params, change)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), params, ours)
