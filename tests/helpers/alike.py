"""Whether two DATASETs hold the same: tables, and each frame's bytes in the pack wherever it lies."""

from pathlib import Path

from prepared import tables

from eruv_dali.dataset import Dataset


def same_dataset(one: Path, other: Path) -> None:
    assert tables(one) == tables(other)
    first, second = Dataset(one), Dataset(other)
    assert [video.name for video in first.videos] == [video.name for video in second.videos]
    for number in range(len(first.videos)):
        a, b = first.frames_of(number), second.frames_of(number)
        assert (a["pts"] == b["pts"]).all() and (a["key"] == b["key"]).all()
        if first.pack != "none":
            assert bytes_of(first, number) == bytes_of(second, number)
    assert not [*one.rglob("*.aside")]
    first.close()
    second.close()


def bytes_of(dataset: Dataset, number: int) -> list[bytes]:
    file = dataset.videos[number].pack_file
    return [dataset.packed.read(file, int(frame["offset"]), int(frame["size"])) for frame in dataset.frames_of(number)]
