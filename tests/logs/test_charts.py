"""What TensorBoard finds on disk while a run goes on."""

import io

import numpy as np
import pytest
from PIL import Image
from support.charts import events, pictures
from tensorboardX.proto.event_pb2 import SessionLog

from alexnet.logs import charts


@pytest.fixture
def now(monkeypatch):
    found = [1000.0]
    monkeypatch.setattr(charts, "monotonic", lambda: found[0])
    return found


def begun(tmp_path, purge: int | None = None) -> charts.Charts:
    return charts.Charts(tmp_path / "tensorboard/train", purge, 0, pytest.fail)


def steps(tmp_path) -> list[int]:
    return [event.step for _, event in events(tmp_path) if event.HasField("summary")]


def full(*_):
    raise OSError(28, "No space left on device")


def test_points_are_there_ten_seconds_later_at_most(tmp_path, now):
    curve = begun(tmp_path)
    for step, later in ((1, 0.0), (2, 9.5), (3, 0.5), (4, 9.5)):
        now[0] += later
        curve.scalar("loss", 1.0, step)
        curve.flush()
        assert steps(tmp_path) == ([] if step < 3 else [1, 2, 3])
    curve.close()
    assert steps(tmp_path) == [1, 2, 3, 4]
    curve.scalar("loss", 1.0, 5)  # after the end it does nothing
    assert steps(tmp_path) == [1, 2, 3, 4]


def test_pictures_and_words_are_those_given(tmp_path):
    shown = begun(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 3), np.uint8)
    shown.picture("filters", pixels, 7)
    shown.text("config", "*seed*", 8)
    shown.close()
    [(step, png)] = pictures(tmp_path, "filters")
    assert step == 7
    np.testing.assert_array_equal(Image.open(io.BytesIO(png)), pixels)
    [words] = [e for _, e in events(tmp_path) if e.step == 8]
    assert words.summary.value[0].tensor.string_val[0] == b"*seed*"


def test_a_resumed_run_begins_by_forgetting_later_points(tmp_path):
    begun(tmp_path).close()
    assert not [e for _, e in events(tmp_path) if e.HasField("session_log")]
    begun(tmp_path / "again", purge=30).close()
    version, start = (event for _, event in events(tmp_path / "again"))
    assert version.file_version == "brain.Event:2"  # TensorBoard forgets nothing in older files
    assert (start.step, start.session_log.status) == (30, SessionLog.START)


def test_a_disk_that_is_full_ends_the_charts_and_is_told_once(tmp_path, now):
    failures = []
    curve = charts.Charts(tmp_path / "tensorboard/train", None, 0, failures.append)
    curve.scalar("loss", 1.0, 1)
    curve._file.write_event = full
    for step in (2, 3):
        curve.scalar("loss", 1.0, step)
    assert steps(tmp_path) == [1]
    curve.close()
    assert [error.errno for error in failures] == [28]


def test_a_disk_that_is_full_at_the_end_is_told(tmp_path):
    failures = []
    curve = charts.Charts(tmp_path / "tensorboard/train", None, 0, failures.append)
    curve._file.flush = full
    curve.close()
    assert [error.errno for error in failures] == [28]


def test_a_folder_that_cannot_be_made_ends_the_charts(tmp_path):
    (tmp_path / "tensorboard").write_text("in the way")
    failures = []
    curve = charts.Charts(tmp_path / "tensorboard/train", None, 0, failures.append)
    curve.scalar("loss", 1.0, 1)
    curve.close()
    [error] = failures
    assert isinstance(error, OSError)
