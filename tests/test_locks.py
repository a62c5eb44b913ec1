"""alexnet.locks: one at a time; where the kernel has no locks, a warning."""

import sys

import pytest
from support import faults

from alexnet.locks import lock


def test_one_has_it_until_the_file_is_closed(tmp_path):
    with (tmp_path / "lock").open("w") as mine, (tmp_path / "lock").open("w") as theirs:
        assert lock(mine, wait=False)
        assert not lock(theirs, wait=False)
        mine.close()
        assert lock(theirs)


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("flock", marks=pytest.mark.skipif(sys.platform != "linux", reason="Linux")),
        "fcntl",
    ],
)
def test_without_locks_a_warning_says_so_once(tmp_path, how):
    code = (
        "import sys; from support import faults; how, folder = sys.argv[1:]\n"
        "if how == 'flock': faults.without_flock()\n"
        "else: sys.modules['fcntl'] = None\n"
        "from alexnet.locks import lock\n"
        "for _ in range(2):\n"
        "    with open(folder + '/lock', 'w') as file: assert lock(file, wait=False)\n"
    )
    path = str(faults.Path(__file__).parent)
    environment = faults.os.environ | {
        "PYTHONPATH": faults.os.pathsep.join([path, *faults.sys.path])
    }
    done = faults.python(code, how, tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    [line] = done.stderr.splitlines()
    assert line == (
        f"warning: {tmp_path} is on a file system without locks (Function not implemented): make "
        "sure that no other process writes there"
    )


def test_another_error_is_not_taken_for_a_lack_of_locks(tmp_path):
    file = (tmp_path / "lock").open("w")
    file.close()
    with pytest.raises(ValueError, match="closed file"):
        lock(file)
