"""Sends a run to Weights & Biases if `config.wandb_project` names a project. This needs

    pip install wandb

A run's config and every row of its metrics.jsonl go there. A resumed run keeps the id in its
workdir's `wandb.json`. The library's environment variables decide the rest: with
WANDB_MODE=offline all stays in `<workdir>/wandb`; a sweep sets WANDB_RUN_GROUP to its name and
WANDB_TAGS to the arm, unless you set them.
"""

import contextlib
import importlib.util
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alexnet.errors import UserError, one_line
from alexnet.files import write_json

STRANGE = "/\\#?%:"  # what W&B does not allow in a project's name


class Tracker:
    """A run on Weights & Biases, begun or resumed.

    Attributes:
        new: whether the run is begun, not resumed.
        where: the run's web address or, offline, its folder.
    """

    def __init__(self, project: str, workdir: Path, config: Mapping[str, Any], anew: bool = False):
        """Begins a run, or resumes the one that this workdir had in the same project.

        Args:
            config: the run's, nested.
            anew: whether training starts from the beginning: a run that the workdir had is left as
                it is, as the library would drop the new rows.

        Raises:
            UserError: if the library is not installed, or nobody is logged in.
        """
        check(project)
        import wandb

        file = workdir / "wandb.json"
        known = {}
        with contextlib.suppress(OSError, ValueError):  # none yet, or a damaged one
            known = json.loads(file.read_text())
        self.new = anew or known.get("project") != project
        try:
            self._run = wandb.init(
                project=project,
                id=None if self.new else known["id"],
                resume="allow",
                name=workdir.name,
                # Given here, as the library reads the environment only once a process.
                group=os.environ.get("WANDB_RUN_GROUP"),
                tags=tags.split(",") if (tags := os.environ.get("WANDB_TAGS")) else None,
                dir=workdir,
                config=dict(config),
                settings=wandb.Settings(silent=True, console="off"),
            )
        except wandb.errors.Error as error:
            line = one_line(error)
            # A usage error means a wrong setting, or that nobody is logged in.
            if not isinstance(error, wandb.errors.UsageError) or "API key" in line:
                line = f"{line.rstrip('.')}: run `wandb login`, or set WANDB_MODE=offline"
            raise UserError(line, f"config.wandb_project={project!r}") from None
        self._run.define_metric("*", step_metric="step")
        self.where = self._run.dir if self._run.offline else self._run.url
        write_json({"project": project, "id": self._run.id}, file)

    def row(self, number: int, row: Mapping[str, Any]) -> None:
        """A row of the log and its number, from 0.

        The library drops a row whose number it has already: a resumed run repeats the steps after
        its last checkpoint, with the same results. If settings have changed meanwhile, the library
        keeps the old rows of these steps; metrics.jsonl has the new ones.
        """
        self._run.log({name: x for name, x in row.items() if x is not None}, step=number)

    def close(self, failed: bool = False) -> None:
        """Sends the remaining rows."""
        self._run.finish(exit_code=int(failed))


def check(project: str) -> None:
    """Raises UserError if a project is named that cannot be, or without the library."""
    if not project:
        return
    if strange := [letter for letter in STRANGE if letter in project]:
        team = "; the team goes into WANDB_ENTITY" if strange[0] == "/" else ""
        raise UserError(
            f"a project's name cannot contain {strange[0]!r}{team}",
            f"config.wandb_project={project!r}",
        )
    spec = importlib.util.find_spec("wandb")
    if spec is None or spec.origin is None:  # a folder wandb/ of an earlier run is no library
        raise UserError(
            "Weights & Biases is not installed: pip install wandb",
            f"config.wandb_project={project!r}",
        )
