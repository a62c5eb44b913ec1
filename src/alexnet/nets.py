"""Prints the table of a net, with shapes and sizes.

python -m alexnet.nets alexnet --towers=1
"""

import sys
from collections.abc import Sequence

from alexnet.cli import arguments, run, typed
from alexnet.errors import UserError, nearest
from alexnet.models.build import NETS, build, defaults
from alexnet.models.describe import describe


def main(argv: Sequence[str]) -> None:
    """Prints the table of the net named first; its options follow as --name=value."""
    if not argv or argv[0].startswith("-"):
        raise UserError(f"which net? write one of {', '.join(NETS)} first")
    name, options = argv[0], defaults(argv[0])
    for key, text in arguments(argv[1:]).items():
        if key not in options:
            raise UserError(f"--{key}: net {name} has no such option{nearest(key, options)}")
        options[key] = typed(key, text, options[key])
    print(describe(build(name, **options)))


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
