"""AlexNet (Krizhevsky, Sutskever, Hinton 2012) in JAX: the paper's text and the authors' source."""

import sys

from alexnet.devices import runtime

if sys.argv[0] == "-m":  # Python is looking for the command of `python -m alexnet.train`
    runtime.restart_with_mimalloc()
