"""Jitted functions, shared by runs whose configs differ only in the programs' arguments."""

import json
from typing import Any

from jax.sharding import Mesh
from ml_collections import ConfigDict

from alexnet import config as configs
from alexnet.models.table import Net

# Settings that no program contains: they are arguments, or concern the loop alone.
ARGUMENTS = (
    *("seed", "epochs", "schedule.", "init_", "data."),
    *("log_every", "checkpoint_every", "fetch", "steps_per_dispatch", "wandb_project"),
)


class Programs:
    """The programs of several runs in one process.

    A sweep hands the same object to all its runs. Runs that differ in seed, rate or schedule then
    share one compilation. Programs are never dropped, as the next seed has the same arms.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[Net, Mesh, str], dict[str, Any]] = {}

    def of(self, config: ConfigDict, net: Net, mesh: Mesh) -> dict[str, Any]:
        """The programs, by name, that runs like this one have made so far; a dict to add to."""
        settings = configs.flat(config.to_dict())
        fixed = {key: value for key, value in settings.items() if not key.startswith(ARGUMENTS)}
        return self._made.setdefault((net, mesh, json.dumps(fixed, sort_keys=True)), {})
