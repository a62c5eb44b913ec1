"""What the harness takes on its command line; `docs/faults.md` says how it is used."""

import secrets

import numpy as np
import pytest


@pytest.fixture
def faults(request) -> int:
    """How many faults are made: --faults=N, or as many as a test is marked with."""
    return request.config.getoption("--faults") or request.node.get_closest_marker("faults").args[0]


@pytest.fixture
def seed(request) -> int:
    """Of what is drawn: --faults-seed=N, or another each time. A test that fails prints it."""
    given = request.config.getoption("--faults-seed")
    seed = secrets.randbits(32) if given is None else given
    print(f"again: --faults-seed={seed}")
    return seed


@pytest.fixture
def random(seed) -> np.random.Generator:
    """Draws what is hit, and when."""
    return np.random.default_rng(seed)
