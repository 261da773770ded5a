"""What is locked, and where nothing can be."""

import errno
import fcntl

import pytest

from eruv_dali.files import lock


def test_a_lock_is_held_until_it_is_closed(tmp_path):
    place = tmp_path / "lock"
    with open(place, "w") as first:
        assert lock(first)
        with open(place) as second:
            assert not lock(second) and not lock(second, shared=True) and not lock(second, needed=False)
    with open(place) as second, open(place) as third:
        assert lock(second, shared=True) and lock(third, shared=True)
    with open(place) as second:
        assert lock(second)


@pytest.mark.parametrize("number, forgiven", [(errno.ENOLCK, True), (errno.EOPNOTSUPP, True), (errno.EIO, False)])
def test_a_file_system_without_locks_is_gone_on_with_only_where_none_is_needed(tmp_path, monkeypatch, number, forgiven):
    def refuse(*_):
        raise OSError(number, "no")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with open(tmp_path / "lock", "w") as opened:
        with pytest.raises(OSError):
            lock(opened)
        if forgiven:
            assert lock(opened, needed=False)
        else:
            with pytest.raises(OSError):
                lock(opened, needed=False)
