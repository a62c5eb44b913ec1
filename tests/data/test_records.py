"""Shards of records: reading in any order, and noticing damage."""

import itertools
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordReader

from alexnet.data import records
from alexnet.data.records import DamagedRecordError, Records, Writer, pack
from alexnet.errors import UserError


def test_a_lower_quality_takes_fewer_bytes():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    low, high = (len(pack(noise, 0, quality)) for quality in (30, 95))
    assert low < 0.6 * high


@pytest.fixture
def shards(tmp_path, monkeypatch):
    """Ten records in shards of four."""
    monkeypatch.setattr(records, "PER_SHARD", 4)
    written = [pack(np.full((3, 3, 3), 20 * i, np.uint8), i, 0) for i in range(10)]
    with Writer(tmp_path, "train") as writer:
        for record in written:
            writer.write(record)
    return tmp_path, written


def test_records_come_back_in_any_order(shards):
    path, written = shards
    assert sorted(file.name for file in path.iterdir()) == [
        f"train-0000{shard}.array_record" for shard in range(3)
    ]
    reader = Records(path, "train", 10)
    for indices in ([], [9], [0, 9, 4, 4, 3], list(range(10))):
        assert [bytes(record) for record in reader.read(indices)] == [written[i] for i in indices]
    [alone] = Records(path, "train", 9).read([8])  # the only one of its shard
    assert alone == written[8]


def test_a_shard_has_16384_records_in_every_store():
    """A reader that counted otherwise would look for records in the wrong files."""
    names = [records.shard(Path("store"), "train", index).name for index in (16_383, 16_384)]
    assert names == ["train-00000.array_record", "train-00001.array_record"]


def test_a_record_is_its_label_and_pixels(shards):
    _, written = shards
    assert written[3] == b"\3\0\0\0" + bytes([60]) * 27


def test_four_bytes_behind_a_record_tell_its_place(shards):
    """What stores on disk have: the CRC-32 of the split, the number and the record."""
    path, written = shards
    [found] = ArrayRecordReader(str(path / "train-00001.array_record")).read([1])
    assert found == written[5] + zlib.crc32(b"train 5" + written[5]).to_bytes(4, "little")


def test_shards_in_each_others_place_are_noticed(shards):
    path, _ = shards
    first, second = path / "train-00000.array_record", path / "train-00001.array_record"
    first.rename(path / "other")
    second.rename(first)
    (path / "other").rename(second)
    with pytest.raises(DamagedRecordError, match=r"train-00000.* at record 2 .*checksum"):
        Records(path, "train", 10).read([2])


def test_every_flipped_bit_that_matters_is_noticed(shards):
    path, written = shards
    file = path / "train-00000.array_record"
    whole = file.read_bytes()
    used = [place for place, byte in enumerate(whole) if byte]  # the rest is filling
    noticed = 0
    for place, bit in itertools.product(used[::3], (0, 5)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << bit
        file.write_bytes(damaged)
        try:
            read = Records(path, "train", 10).read([0, 1, 2, 3])
        except DamagedRecordError:
            noticed += 1
        else:
            assert [bytes(record) for record in read] == written[:4]
    assert noticed > len(used) / 5


def test_a_missing_or_short_shard_is_named(shards):
    path, _ = shards
    file = path / "train-00002.array_record"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DamagedRecordError, match=r"train-00002\.\S+ is damaged at record 8 "):
        Records(path, "train", 10).read([8])
    file.unlink()
    with pytest.raises(DamagedRecordError, match=r"train-00002\.\S+ is damaged at record 9 "):
        Records(path, "train", 10).read([0, 9])


def test_writing_to_nowhere_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="nowhere"), Writer(tmp_path / "nowhere", "train") as writer:
        writer.write(b"record")


@pytest.mark.parametrize("why", ["open() failed: Too many open files", "Stale file handle"])
def test_an_error_of_the_machine_is_no_damage(shards, monkeypatch, why):
    path, _ = shards

    class Failing:
        def read(self, _):
            raise RuntimeError(f"INTERNAL: {why}; reading {path}")

    reader = Records(path, "train", 10)
    monkeypatch.setattr(reader, "_readers", [Failing()] * 3)
    with pytest.raises(
        UserError, match=rf"00001\.array_record cannot be read now .*{re.escape(why)}"
    ):
        reader.read([5])
