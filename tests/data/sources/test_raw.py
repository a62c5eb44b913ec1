"""Raw data: which images are turned upright."""

import dataclasses

from alexnet.data.sources.raw import RawData


def test_only_what_asks_for_it_is_turned_upright():
    data = RawData(("a",), {})
    assert not data.upright
    assert dataclasses.replace(data, upright=True).upright
