"""What a command's config changes in a run that has begun: its schedule, and no more than that."""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from alexnet import config as configs
from alexnet.errors import UserError
from alexnet.training.run import Run
from alexnet.workdir import provenance, record


def keep_origin(config: ConfigDict, workdir: Path) -> str:
    """Restores the recorded `init_from` and `init_layers` of a run that has begun.

    Returns a line for each that the config sets differently: the new value has no effect.
    """
    if not (workdir / "config.json").exists():
        return ""
    saved, said = configs.absolute(record.saved_config(workdir, resume=True)), ""
    for name in ("init_from", "init_layers"):
        if config[name] != saved[name]:
            said += f"\nconfig.{name}={config[name]!r} is not used: the run has begun"
            config[name] = saved[name]
    return said


def changed(run: Run, workdir: Path, start: int) -> dict[str, tuple[Any, Any]]:
    """{setting: (its value up to step `start`, its value from now on)} of a resumed run's schedule.

    Settings are named `config.schedule.rate`.
    """
    saved, now = trained_with(workdir, start), configs.plain(run.config)
    return {
        f"config.{key}": (saved.get(key), now.get(key))
        for key in {**saved, **now}
        if key.startswith("schedule.") or (key == "epochs" and hasattr(run.schedule, "epochs"))
        if saved.get(key) != now.get(key)
    }


def trained_with(workdir: Path, step: int) -> dict[str, Any]:
    """The settings of a run up to a checkpoint, by dotted name, with tuples as lists.

    They are not those of the saved config if a command that changed them has come no further.
    """
    saved = configs.plain(record.saved_config(workdir, resume=True))
    try:
        commands = provenance.commands(workdir)
    except UserError:  # damaged: no reason to stop a run, see `provenance.provenance`
        commands = []
    for command in reversed(commands):
        if command.get("start") == step:
            for key, (old, _) in (command.get("changes") or {}).items():
                saved[key.removeprefix("config.")] = old
    return {key: value for key, value in saved.items() if value is not None}


def schedule_of(workdir: Path, step: int) -> ConfigDict:
    """`config.schedule` as it was up to a checkpoint."""
    nested = configs.nested(trained_with(workdir, step))
    return configs.from_json(nested["schedule"])
