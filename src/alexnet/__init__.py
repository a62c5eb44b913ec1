"""AlexNet (Krizhevsky, Sutskever, Hinton 2012) in JAX: the paper's text and the authors' source."""

import sys

from alexnet.devices import runtime

if sys.argv[:1] == ["-m"]:  # Python is looking for a module to run, such as alexnet.train
    runtime.begin_command()
    if runtime.is_command(sys.argv, sys.orig_argv) and {"-h", "--help"} & {*sys.argv}:
        from alexnet import cli

        cli.help_first(runtime.what_runs(sys.orig_argv)[1].removeprefix("alexnet."), sys.argv[1:])
