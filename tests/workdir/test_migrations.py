"""Configs of earlier versions, read by a later one."""

import pytest

from alexnet.errors import UserError
from alexnet.workdir.migrations import Added, Renamed, Retired, migrated

CHANGES = (
    (1, Retired("mesh.hybrid", False)),
    (2, Added("kernels", "auto")),
    (2, Renamed("net.act", "net.activation")),
    (3, Added("optimizer.name", "momentum")),
    (4, Renamed("kernels", "net.kernels")),
)


def migrate(found: dict, version: int = 4) -> dict:
    return migrated(found, "run/config.json", version, CHANGES)


def test_every_change_since_the_files_version_is_made_in_order():
    old = {"seed": 1, "mesh": {"data": 0, "hybrid": False}, "net": {"act": "tanh"}}
    assert migrate(old) == {
        "seed": 1,
        "mesh": {"data": 0},
        "net": {"activation": "tanh", "kernels": "auto"},
        "optimizer": {"name": "momentum"},
    }
    assert old["mesh"] == {"data": 0, "hybrid": False}  # the argument is left alone


def test_changes_that_the_file_has_seen_are_not_made_again():
    new = {"version": 3, "kernels": "plain", "net": {}, "mesh": {"hybrid": True}}
    assert migrate(new) == {"net": {"kernels": "plain"}, "mesh": {"hybrid": True}}
    assert migrate({"version": 4, "seed": 2}) == {"seed": 2}


def test_a_value_that_is_there_is_kept():
    assert migrate({"version": 2, "optimizer": {"name": "adamw"}})["optimizer"] == {"name": "adamw"}


def test_a_retired_setting_with_a_value_is_one_line():
    with pytest.raises(UserError) as error:
        migrate({"mesh": {"hybrid": True}})
    assert str(error.value) == (
        "run/config.json has config.mesh.hybrid=True, which this version has no more (only False): "
        "use the version that wrote it"
    )


def test_a_later_versions_config_is_refused():
    with pytest.raises(UserError, match=r"by a later version of this program .5, this is 4"):
        migrate({"version": 5})


def test_a_tuple_or_a_list_survives():
    assert migrate({"version": 4, "a": [[1, 2.0]], "b": ()}) == {"a": [[1, 2.0]], "b": ()}
