"""The inventory of a dataset without images."""

import dataclasses

from alexnet.data.inventory import Inventory


def test_an_inventory_of_nothing_counts_nothing():
    assert not any(dataclasses.asdict(Inventory()).values())
