"""Runs that were never trained: what they would have left behind, written in milliseconds."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.tiny import ROOT

from alexnet import config as configs
from alexnet.results import folders
from alexnet.results.result import Result
from alexnet.training.settings import KINDS
from alexnet.workdir import record

DIGITS = str(ROOT / "configs/digits.py")


def leave(
    folder: Path,
    errors: Sequence[float],
    *,
    train: Sequence[float] = (),
    losses: Sequence[float] = (),
    overrides: dict[str, Any] | None = None,
    file: str = DIGITS,
    commit: str | None = "c" * 40,
    contents: dict[str, str] | None = None,
    epochs: float | None = None,
) -> Path:
    """A workdir whose run had these validation errors, one an epoch, and training errors.

    The losses of the validations are 1.0, if none are given.
    """
    folder.mkdir(parents=True)
    config = configs.load(file, KINDS)
    settings = {"epochs": epochs or len(errors), "log_every": 10, **(overrides or {})}
    configs.apply_overrides(config, settings, KINDS)
    record.save_config(config, folder)
    rows = []
    for epoch, error in enumerate(errors, 1):
        about = {"step": 10 * epoch, "epoch": float(epoch), "seconds": 2.0 * epoch}
        if epoch <= len(train):
            numbers = {"loss": 1.0, "top1_error": train[epoch - 1], "top5_error": 0.0}
            rows.append(about | {f"train/{key}": value for key, value in numbers.items()})
        loss = losses[epoch - 1] if losses else 1.0
        numbers = {"loss": loss, "top1_error": error, "top5_error": error / 2, "count": 100}
        rows.append(about | {f"validation/{key}": value for key, value in numbers.items()})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if commit:
        made = {"outcome": "done", "commit": commit, "device": "1 x cpu", "cores": 2}
        (folder / "provenance.json").write_text(json.dumps([made]))
    if contents:
        (folder / "dataset").mkdir()
        (folder / "dataset/info.json").write_text(json.dumps({"contents": contents}))
    return folder


def results_by_name(folder: Path) -> dict[str, Result]:
    """{name: result} of the finished runs in a folder."""
    return {result.name: result for result in folders.read([folder]).results}
