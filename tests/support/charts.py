"""What a run tells TensorBoard, read without it."""

from collections.abc import Iterator
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event


def events(workdir: Path) -> Iterator[tuple[str, Event]]:
    """(run, event) of each: its length, that one's crc, the event, its crc."""
    for path in sorted((workdir / "tensorboard").rglob("events*")):
        data = path.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            yield path.parent.name, Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]


def pictures(workdir: Path, tag: str) -> list[tuple[int, bytes]]:
    """(step, PNG) of each image with this tag."""
    return [
        (event.step, value.image.encoded_image_string)
        for _, event in events(workdir)
        for value in event.summary.value
        if value.tag == tag
    ]
