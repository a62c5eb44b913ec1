"""The records of a split on disk: shards of ArrayRecord, every record with a checksum.

A record is a little-endian int32 label, an image (JPEG, or raw pixels) and the CRC-32 of both. The
checksum starts from the split and the record's number, so that a misplaced record is noticed.
"""

import collections
import errno
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import simplejpeg
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from alexnet.errors import UserError, one_line
from alexnet.files import allow_open
from alexnet.text import printable

PER_SHARD = 16_384  # records: half a gigabyte of JPEGs of 256 x 256 pixels
LABEL = np.dtype("<i4")
CHECKSUM = 4  # bytes
# Words in array_record's errors that say nothing about the content.
CIRCUMSTANCES = (
    *("Too many open files", "Permission denied", "Input/output error", "Stale file handle"),
    "Cannot allocate memory",
)
# Errors of a file itself; all others are of the machine, such as a stale handle of a network disk.
OF_A_FILE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ELOOP)
UNREADABLE = (RuntimeError, IndexError, ValueError)  # what array_record raises


class DamagedRecordError(Exception):
    """A record that cannot be read, or is not what was written: its file, its number, why."""

    def __init__(self, file: Path, index: int, why: object):
        super().__init__(f"{file} is damaged at record {index} ({why})")


class Writer:
    """Writes a split's records in order; a context manager. Raises OSError, as for a full disk."""

    def __init__(self, path: Path, split: str):
        self.path, self.split, self.count = path, split, 0
        self._shard: ArrayRecordWriter | None = None

    def write(self, record: bytes) -> None:
        """Writes a record that `pack` made."""
        try:
            if self.count % PER_SHARD == 0:
                self.close()
                # One record a group: random access reads no neighbours. JPEGs compress no further.
                file = shard(self.path, self.split, self.count)
                self._shard = ArrayRecordWriter(str(file), "group_size:1,uncompressed")
            assert self._shard is not None  # nothing is written after `close`
            self._shard.write(record + _checksum(record, self.split, self.count))
        except RuntimeError as error:  # array_record raises nothing else
            raise OSError(str(error)) from error
        self.count += 1

    def close(self) -> None:
        """Closes the shard."""
        shard, self._shard = self._shard, None
        if shard is None:
            return
        try:
            shard.close()
        except RuntimeError as error:
            raise OSError(str(error)) from error

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Records:
    """Random access to the records of a split, with their files open; several threads may read.

    Args:
        path: the store's folder.
        count: records in the split.
        checked: whether they carry checksums and lie in shards; those of format 1 do not.
    """

    def __init__(self, path: Path, split: str, count: int, checked: bool = True):
        self._checked, self._split = checked, split
        self._per_file = PER_SHARD if checked else max(count, 1)
        self._files = [
            shard(path, split, first) if checked else path / f"{split}.array_record"
            for first in range(0, count, self._per_file)
        ]
        allow_open(len(self._files), f"the store {path}")
        # Reading ahead, the default, would be wasted on shuffled records.
        options = "readahead_buffer_size:0,max_parallelism:0"
        self._readers = [ArrayRecordReader(str(file), options) for file in self._files]

    def read(self, indices: Sequence[int]) -> list[memoryview]:
        """The records at `indices`, as `pack` made them. Raises DamagedRecordError."""
        places = collections.defaultdict(list)
        for place, index in enumerate(indices):
            places[index // self._per_file].append(place)
        records = [memoryview(b"")] * len(indices)
        for number, here in places.items():
            wanted = [indices[place] for place in here]
            for place, index, record in zip(here, wanted, self._from(number, wanted), strict=True):
                records[place] = self._verified(index, record)
        return records

    def file(self, index: int) -> Path:
        """The shard that a record is in."""
        return self._files[index // self._per_file]

    def _from(self, number: int, indices: Sequence[int]) -> list[bytes]:
        reader, first = self._readers[number], number * self._per_file
        try:
            return reader.read([index - first for index in indices])
        except UNREADABLE as failed:  # array_record does not say which record
            check_circumstances(failed, str(self._files[number]))
            for index in indices:
                try:
                    reader.read([index - first])
                except UNREADABLE as error:
                    raise DamagedRecordError(self.file(index), index, error) from error
            raise

    def _verified(self, index: int, record: bytes) -> memoryview:
        view = memoryview(record)
        if not self._checked:
            return view
        body, checksum = view[:-CHECKSUM], view[-CHECKSUM:]
        if _checksum(body, self._split, index) != checksum:
            raise DamagedRecordError(self.file(index), index, "its checksum differs")
        return body


def check_circumstances(error: Exception, file: str) -> None:
    """Raises UserError if an error says nothing about the file: another time, it may be readable.

    Pillow's own OSErrors on damaged files have no number, array_record's RuntimeErrors only words.
    """
    if isinstance(error, RuntimeError) and any(word in str(error) for word in CIRCUMSTANCES):
        raise UserError(
            f"{printable(file)} cannot be read now ({one_line(error)}), though it may be intact: "
            "mend the cause and try again"
        ) from None
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, MemoryError) or number not in (None, *OF_A_FILE):
        why = os.strerror(number) if number else "out of memory"
        raise UserError(
            f"{printable(file)} cannot be read now ({why}), though it may be intact: mend the "
            "cause, or move the file away"
        ) from None


def pack(image_HWC: np.ndarray, label: int, quality: int) -> bytes:
    """The record of one uint8 image, without its checksum; quality 0 keeps the pixels."""
    if quality:
        payload = simplejpeg.encode_jpeg(
            np.ascontiguousarray(image_HWC), quality, colorsubsampling="420"
        )
    else:
        payload = image_HWC.tobytes()
    return np.array(label, LABEL).tobytes() + payload


def shard(path: Path, split: str, index: int) -> Path:
    """The file of the record with this number."""
    return path / f"{split}-{index // PER_SHARD:05}.array_record"


def _checksum(record: bytes | memoryview, split: str, index: int) -> bytes:
    begin = zlib.crc32(b"%s %d" % (split.encode(), index))
    return zlib.crc32(record, begin).to_bytes(CHECKSUM, "little")
