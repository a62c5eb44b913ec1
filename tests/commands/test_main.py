"""`alexnet`, or `python -m alexnet`: it lists the commands and runs them."""

import os
import subprocess
import sys

import pytest

import alexnet
from alexnet import __main__ as program

COMMANDS = [
    *("compare", "convert", "doctor", "evaluate", "nets", "predict", "prepare", "profile"),
    *("report", "roofline", "sweep", "train"),
]


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True)


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_it_lists_the_commands(monkeypatch, capsys, arguments):
    monkeypatch.setattr(sys, "argv", ["/venv/bin/alexnet", *arguments])
    program.main()
    usage, empty, *lines = capsys.readouterr().out.splitlines()
    assert usage.startswith("usage: alexnet COMMAND")
    assert not empty
    assert [line.split()[0] for line in lines] == COMMANDS
    assert lines[-1] == "train     Trains a net."


def test_a_new_file_with_a_main_is_a_command(tmp_path, monkeypatch):
    monkeypatch.setattr(program, "__file__", str(tmp_path / "__main__.py"))
    main = "def main(argv):\n    pass\n"
    for name in ("draw", "__main__", "_hidden"):
        (tmp_path / f"{name}.py").write_text(f'"""Draws é.\n\nMore."""\n{main}', encoding="utf-8")
    (tmp_path / "bare.py").write_text(main)
    (tmp_path / "helper.py").write_text('"""Helps."""\ndef other(): pass\n')
    assert program.commands() == {"bare": "", "draw": "Draws é."}


def test_the_list_loads_nothing_large():
    code = (
        "import sys; sys.argv = ['alexnet']; from alexnet.__main__ import main; main(); "
        "assert not {'jax', 'numpy', 'flax', 'ml_collections'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_an_unknown_command_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/venv/bin/alexnet", "trian"])
    with pytest.raises(SystemExit) as end:
        program.main()
    assert end.value.code == 2
    out, error = capsys.readouterr()
    assert not out
    assert error == (
        f"error: alexnet trian: choose one of {', '.join(COMMANDS)}; did you mean 'train'?\n"
    )


@pytest.mark.parametrize("arguments", [["nets", "pocket", "--towers=1"], ["nets", "poket"]])
def test_a_command_does_what_its_module_does(arguments):
    ours, module = run("-m", "alexnet", *arguments), run("-m", "alexnet.nets", *arguments[1:])
    assert ours.stdout == module.stdout
    assert ours.stderr == module.stderr
    assert ours.returncode == module.returncode == (2 if "poket" in arguments else 0)


def test_a_command_that_reads_sys_argv_itself():
    done = run("-m", "alexnet", "prepare", "--help")
    assert done.returncode == 0
    assert "python -m alexnet.prepare" in done.stdout


@pytest.mark.parametrize("way", [["-m", "alexnet.train"], ["-m", "alexnet", "train"], ["script"]])
def test_ctrl_c_while_it_imports_is_quiet(tmp_path, monkeypatch, way):
    (tmp_path / "jax.py").write_text("raise KeyboardInterrupt")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    if way == ["script"]:  # as pip installs it
        (tmp_path / "alexnet").write_text("from alexnet.__main__ import main\nmain()\n")
        way = [str(tmp_path / "alexnet"), "train"]
    done = run(*way)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_the_help_of_another_program_is_its_own(tmp_path, monkeypatch):
    """A package may import ours, even if it is called as one of our commands is."""
    (tmp_path / "train").mkdir()
    (tmp_path / "train/__init__.py").write_text("import alexnet")
    (tmp_path / "train/__main__.py").write_text("print('mine')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    done = run("-m", "train", "--help")
    assert (done.returncode, done.stdout, done.stderr) == (0, "mine\n", "")


@pytest.mark.parametrize("words", [["--version"], ["version"]])
def test_the_version_is_told(words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["alexnet", *words])
    program.main()
    assert capsys.readouterr().out == f"{alexnet.__version__}\n"
    assert alexnet.__version__[0].isdecimal()


def test_help_comes_with_and_without_dashes(monkeypatch, capsys):
    said = []
    for words in (["nets", "--help"], ["help", "nets"]):
        monkeypatch.setattr(sys, "argv", ["alexnet", *words])
        with pytest.raises(SystemExit):
            program.main()
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] != ""
    for word in ("help", "--help"):
        monkeypatch.setattr(sys, "argv", ["alexnet", word])
        program.main()
        assert "usage: alexnet COMMAND" in capsys.readouterr().out
