"""AlexNet (Krizhevsky, Sutskever, Hinton 2012) in JAX, after the paper and the authors' source."""

import sys
from typing import Any

from alexnet.devices import runtime

if sys.argv[:1] == ["-m"]:  # Python is looking for a module to run, such as alexnet.train
    runtime.begin_command()
    if runtime.is_command(sys.argv, sys.orig_argv) and {"-h", "--help"} & {*sys.argv}:
        from alexnet import cli

        cli.help_first(runtime.what_runs(sys.orig_argv)[1].removeprefix("alexnet."), sys.argv[1:])

# {public name: the module it is in}, imported on first use. No public name is also the name of a
# submodule: `import alexnet.train` makes `alexnet.train` the module.
_NAMES = {
    "load": "alexnet.inference.loading",
    "classifier": "alexnet.inference.loading",
    "load_config": "alexnet.training.settings",
    "setup": "alexnet.training.setup",
    "train_and_evaluate": "alexnet.training.loop",
    "build": "alexnet.models.build",
    "list_nets": "alexnet.models.build",
    "init": "alexnet.models.network",
    "apply": "alexnet.models.network",
    "Network": "alexnet.models.network",
    "open_dataset": "alexnet.data.prepare",
    "read_log": "alexnet.logs.metrics",
    "read_results": "alexnet.results.folders",
    "compare_results": "alexnet.comparison.formats",
    "ops": "alexnet.models",
    "UserError": "alexnet.errors",
}
__all__ = list(_NAMES)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("alexnet")
    if name not in _NAMES:
        raise AttributeError(f"module 'alexnet' has no attribute {name!r}")
    import importlib

    if name == "ops":
        return importlib.import_module("alexnet.models.ops")
    return getattr(importlib.import_module(_NAMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
