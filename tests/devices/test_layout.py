"""alexnet.devices.layout: devices go to the towers first, then to parts of the batch."""

import pytest

from alexnet.devices.layout import layout


@pytest.mark.parametrize(
    ("devices", "towers", "batch", "expected"),
    [
        (1, 2, 128, (1, 1)),
        (2, 2, 128, (1, 2)),
        (3, 2, 128, (1, 2)),
        (4, 2, 128, (2, 2)),
        (8, 2, 6, (3, 2)),  # four devices for each tower, but six images
        (2, 1, 6, (2, 1)),
        (2, 1, 7, (1, 1)),
        (5, 1, 128, (4, 1)),
    ],
)
def test_what_is_not_given_is_what_the_devices_allow(devices, towers, batch, expected):
    assert layout(devices, towers, batch) == expected


@pytest.mark.parametrize(
    ("data", "tower", "expected"),
    [
        (4, 0, (4, 1)),
        (2, 0, (2, 2)),
        (0, 1, (4, 1)),
        (0, 2, (2, 2)),
        (1, 1, (1, 1)),
        (9, 3, (9, 3)),
    ],
)
def test_what_is_given_stays(data, tower, expected):
    assert layout(4, 2, 128, data, tower) == expected
