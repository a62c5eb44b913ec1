"""Lists the commands, or runs one: `alexnet train --config=...` is `python -m alexnet.train ...`.

Nothing large is imported here, as `runtime.begin_command` may restart the process.
"""

import ast
import runpy
import sys
from pathlib import Path

from alexnet.devices import runtime
from alexnet.errors import nearest
from alexnet.text import aligned


def main() -> None:
    """Runs the command that the first argument names, in this process."""
    runtime.begin_command()
    found = commands()
    if sys.argv[1:2] == ["help"]:  # `alexnet help train` is `alexnet train --help`
        sys.argv[1:] = [*sys.argv[2:], "--help"]
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("--version", "version"):
        import alexnet

        print(alexnet.__version__)
    elif name in ("-h", "--help"):
        print("usage: alexnet COMMAND [ARGUMENTS], or python -m alexnet.COMMAND [ARGUMENTS]\n")
        print("\n".join(aligned(list(found.items()), names=2)))
    elif name in found:
        del sys.argv[1]
        if {"-h", "--help"} & {*sys.argv}:
            from alexnet import cli

            cli.help_first(name, sys.argv[1:])
        runpy.run_module(f"alexnet.{name}", run_name="__main__", alter_sys=True)
    else:
        choices = f"choose one of {', '.join(found)}{nearest(name, found)}"
        print(f"error: alexnet {name}: {choices}", file=sys.stderr)
        sys.exit(2)


def commands() -> dict[str, str]:
    """Each command's one-line description, by name; a command is a module here with a `main`."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("[!_.]*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body):
            found[path.stem] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


if __name__ == "__main__":
    main()
