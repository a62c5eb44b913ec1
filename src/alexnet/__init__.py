"""AlexNet (Krizhevsky, Sutskever, Hinton 2012) in JAX: the paper's text and the authors' source."""

import sys

from alexnet.devices import runtime

if sys.argv[:1] == ["-m"]:  # Python is looking for a module to run, such as alexnet.train
    runtime.begin_command()
