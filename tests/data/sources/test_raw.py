"""Raw data: which images are turned upright."""

from alexnet.data.sources.raw import RawData


def test_images_are_not_turned_upright_unless_asked():
    assert not RawData(("a",), {}).upright
