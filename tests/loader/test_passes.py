"""Passes over a loader: however it is iterated, clips, labels and info belong together, or there is one clear error."""

import copy
import gc
import itertools
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
import weakref

import nvidia.dali as dali
import pytest
import torch
from numbered import numbers, verified, verified_infos

from eruv_dali import ClipLoader, EruvError, RelationLoader
from eruv_dali.video.reader import FrameReader

SOURCES = ("video", "jpeg", "raw", "none")


@pytest.fixture(params=SOURCES)
def loader(request, datasets):
    """Ten batches of numbered pairs."""
    with RelationLoader(datasets[request.param], batch_size=2, device="cpu", pairs_per_epoch=20, seed=5) as loader:
        yield loader


@pytest.fixture
def numbered_clips(datasets):
    """Twelve clips, each labelled with the number of its first frame, in batches of two."""
    wanted = [("long/a.mp4", start, start) for start in range(0, 240, 20)]
    with ClipLoader(wanted, dataset=datasets["raw"], batch_size=2, device="cpu", shuffle=True) as loader:
        yield loader


def epoch_of(loader, number):
    """All infos of an epoch."""
    loader.set_epoch(number)
    return verified_infos(loader)


def queued_by_now(loader):
    gc.collect()
    return loader.stats()["queued"]


OVERTAKEN = "another pass over this (Relation|Clip)Loader has begun"


def test_a_zip_of_a_loader_with_itself_says_so(loader):
    with pytest.raises(EruvError, match=OVERTAKEN):
        for first, second in zip(loader, loader, strict=False):
            verified(first), verified(second)


def test_a_pass_within_a_pass_ends_the_outer_one(loader):
    outer = iter(loader)
    verified(next(outer))
    inner = iter(loader)
    assert len(verified(next(inner))) == 2
    with pytest.raises(EruvError, match=OVERTAKEN):
        next(outer)
    assert sum(len(verified(batch)) for batch in inner) == 18  # the newer one goes on undisturbed
    assert next(inner, None) is None and next(inner, None) is None


def test_what_a_newer_pass_delivers_is_not_ended_by_the_older_ones_end(loader):
    older = iter(loader)
    next(older)
    newer = iter(loader)
    verified(next(newer))
    del older
    gc.collect()
    assert sum(len(verified(batch)) for batch in newer) == 18


def test_each_iter_is_the_next_epoch(loader):
    epochs = [epoch_of(loader, number) for number in range(4)]
    assert len({str(epoch) for epoch in epochs}) == 4
    loader.set_epoch(0)
    seen = []
    for _ in range(4):
        for number, batch in enumerate(loader):
            seen += verified(batch)
            if number == 2:
                break
    assert seen == [info for epoch in epochs for info in epoch[:6]]
    # A pass that has delivered nothing has used nothing up.
    loader.set_epoch(2)
    iter(loader), iter(loader)
    assert verified_infos(loader) == epochs[2]
    assert loader.epoch == 3


def test_a_state_is_resumed_by_the_next_pass_alone(loader):
    first, second = epoch_of(loader, 0), epoch_of(loader, 1)
    loader.set_epoch(0)
    batches = iter(loader)
    begun = [info for _ in range(4) for info in next(batches).info]
    state = loader.state_dict()
    assert state == {"epoch": 0, "position": 8} and begun == first[:8]
    next(batches)
    loader.load_state_dict(state)
    loader.set_epoch(0)  # as training code does at the beginning of each epoch: it names the epoch that goes on
    assert verified_infos(loader) == first[8:]
    assert verified_infos(loader) == second


def test_set_epoch_within_a_pass_is_for_the_next_one(loader):
    first, sixth = epoch_of(loader, 0), epoch_of(loader, 5)
    loader.set_epoch(0)
    seen = []
    for number, batch in enumerate(loader):
        seen += batch.info
        if number == 1:
            loader.set_epoch(5)
    assert seen == first and [info for batch in loader for info in batch.info] == sixth


@pytest.mark.parametrize("state, message", [
    ({"epoch": 0}, "is not a loader's state"), (None, "is not a loader's state"),
    ({"epoch": 0, "position": 21}, "position of the state 21 must be at most 20"),
    ({"epoch": -1, "position": 0}, "epoch of the state -1"), ({"epoch": "1", "position": 0}, "whole number"),
])
def test_bad_states(datasets, state, message):
    with (RelationLoader(datasets["raw"], batch_size=2, device="cpu", pairs_per_epoch=20) as loader,
          pytest.raises(EruvError, match=message)):
        loader.load_state_dict(state)


def test_what_follows_the_last_batch_does_not_lower_the_rate(loader):
    for _ in loader:
        pass
    rate = loader.stats()["clips_per_second"]
    time.sleep(0.05)
    assert rate > 0 and loader.stats()["clips_per_second"] == rate


@pytest.mark.parametrize("leave", ["break", "exception", "interrupt", "del", "close"])
def test_leaving_a_pass_leaves_nothing_queued(loader, leave):
    if leave == "del":
        batches = iter(loader)
        next(batches)
        assert loader.stats()["queued"] > 0
        del batches
    elif leave == "close":
        batches = iter(loader)
        next(batches)
        batches.close()
        assert next(batches, None) is None
    else:
        try:
            for batch in loader:
                assert batch.info and loader.stats()["queued"] > 0
                if leave == "break":
                    break
                raise {"exception": ZeroDivisionError, "interrupt": KeyboardInterrupt}[leave]
        except (ZeroDivisionError, KeyboardInterrupt):
            pass
    assert queued_by_now(loader) == 0
    assert sum(len(verified(batch)) for batch in loader) == 20


@pytest.mark.slow
def test_an_interrupt_within_the_loader_mixes_nothing_up(datasets):
    """Signals at random moments, most of them in the middle of the loader's own work."""
    random.seed(0)
    broken = 0

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with RelationLoader(datasets["raw"], batch_size=2, device="cpu", pairs_per_epoch=20, seed=5) as loader:
            whole = epoch_of(loader, 0)
            for _ in range(30):
                loader.set_epoch(0)
                batches = iter(loader)
                try:
                    signal.setitimer(signal.ITIMER_REAL, random.uniform(0.001, 0.03))
                    for _ in batches:  # nearly all of the time passes within the loader
                        pass
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except KeyboardInterrupt:
                    state = loader.state_dict()
                    if (after := next_or_error(batches)) == "broken":  # it hit the loader itself, not the loop's body
                        broken += 1
                    else:
                        assert after == whole[state["position"]]
                    loader.load_state_dict(state)
                    rest = verified_infos(loader)
                    assert rest == (whole[state["position"]:] if state["epoch"] == 0 else epoch_of(loader, 1))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert broken > 0


def next_or_error(batches):
    """The first info of the next batch, "broken" where the pass says that it was broken off."""
    try:
        return next(batches).info[0]
    except EruvError as error:
        assert "this pass was interrupted by KeyboardInterrupt" in str(error)
        return "broken"
    except StopIteration:
        return "broken"


def test_threads_share_a_pass_or_say_so(numbered_clips):
    loader, seen, errors = numbered_clips, [], []

    def work(batches):
        try:
            for batch in batches:
                verified(batch)
                assert batch.label.tolist() == [info.frames[0] for info in batch.info]
                seen.extend(batch.label.tolist())
        except Exception as error:
            errors.append(error)

    def run(threads):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    for _ in range(5):  # one pass in three threads: each clip once
        seen.clear()
        batches = iter(loader)
        run([threading.Thread(target=work, args=(batches,)) for _ in range(3)])
        assert sorted(seen) == list(range(0, 240, 20)) and not errors
    for _ in range(5):  # a pass each: all but the newest say that they are over, and never is a label wrong
        run([threading.Thread(target=lambda: work(iter(loader))) for _ in range(3)])
        assert all(isinstance(error, EruvError) and "another pass" in str(error) for error in errors), errors
        errors.clear()


OVER_A_FORK = """
import os, sys
from eruv_dali import EruvError, RelationLoader

with RelationLoader(sys.argv[1], batch_size=2, device="cpu", pairs_per_epoch=20) as loader:
    batches = iter(loader)
    next(batches)
    reading, writing = os.pipe()
    if os.fork() == 0:  # leaves by the ordinary way out, so that all that runs at an end does
        for use in (lambda: next(iter(loader)), lambda: next(batches)):
            try:
                use()
            except EruvError as error:
                print(os.getpid(), error, flush=True)
        loader.close()
        del batches, loader
        sys.exit(7)
    print("exit code", os.waitstatus_to_exitcode(os.wait()[1]))
    print(sum(len(batch.info) for batch in batches))  # the parent's goes on
"""


@pytest.mark.slow
def test_over_a_fork_there_is_one_clear_line(datasets):
    ran = subprocess.run([sys.executable, "-c", OVER_A_FORK, datasets["raw"]], capture_output=True, text=True,
                         timeout=300)
    first, second, ended, left = ran.stdout.splitlines()
    child = first.split()[0]
    for line in (first, second):
        assert f"carried over a fork to process {child}, where its threads do not exist; make a" in line
    assert (ended, left, ran.returncode, ran.stderr) == ("exit code 7", "18", 0, "")


@pytest.mark.parametrize("way", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_loader_is_not_pickled(numbered_clips, way):
    with pytest.raises(EruvError, match="a ClipLoader holds threads .* make it in the process that uses it"):
        way(numbered_clips)


class MadeInTheWorker(torch.utils.data.IterableDataset):
    def __init__(self, folder):
        self.folder = folder

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        wanted = [("long/a.mp4", start, start) for start in range(0, 240, 20)]
        with ClipLoader(wanted, dataset=self.folder, batch_size=2, device="cpu", threads=1, shard_id=worker.id,
                        num_shards=worker.num_workers) as loader:
            for batch in loader:
                yield batch.clips, batch.label


def test_made_in_the_workers_of_a_dataloader_it_works(datasets):
    seen = []
    for clips, labels in torch.utils.data.DataLoader(MadeInTheWorker(datasets["none"]), batch_size=None,
                                                     num_workers=2):
        for clip, label in zip(clips, labels.tolist(), strict=True):
            assert numbers(clip)[0] == label
            seen.append(label)
    assert sorted(seen) == list(range(0, 240, 20))


def test_after_closing(datasets):
    loader = RelationLoader(datasets["jpeg"], batch_size=2, device="cpu", pairs_per_epoch=20)
    batches = iter(loader)
    next(batches)
    loader.close()
    loader.close()
    for use in (lambda: next(batches), lambda: iter(loader), lambda: list(loader)):
        with pytest.raises(EruvError, match="this RelationLoader is closed; make another"):
            use()
    assert loader.state_dict() == {"epoch": 0, "position": 2}  # a state can still be had


@pytest.mark.parametrize("pack", ["jpeg", "none"])
def test_forgotten_loaders_close_themselves(datasets, pack):
    def held():
        gc.collect()
        return threading.active_count(), len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

    def forget():
        loader = RelationLoader(datasets[pack], batch_size=2, device="cpu", pairs_per_epoch=8, threads=2)
        batches = iter(loader)
        next(batches)

    forget()
    before = held()
    for _ in range(16):
        forget()
    after = held()
    assert all(now <= then for then, now in zip(before, after, strict=True)), (before, after)


def test_a_loader_in_a_cycle_may_be_collected_on_its_own_thread(datasets, monkeypatch):
    """The collector runs on whatever thread allocates; the reading threads cannot wait for themselves."""
    read, reading, forgotten, collected = FrameReader.read, *(threading.Event() for _ in range(3))
    reads, threads, errors = itertools.count(), [], []

    def collecting(*arguments):
        if next(reads) >= 4:  # more than the first batch takes
            reading.set()
            assert forgotten.wait(60)
            gc.collect()
            collected.set()
        return read(*arguments)

    monkeypatch.setattr(FrameReader, "read", collecting)
    monkeypatch.setattr(sys, "unraisablehook", errors.append)
    monkeypatch.setattr(sys, "excepthook", lambda *error: errors.append(error))
    gc.disable()
    try:
        loader = RelationLoader(datasets["none"], batch_size=2, device="cpu", pairs_per_epoch=200, threads=1)
        weakref.finalize(loader, lambda: threads.append(threading.current_thread().name))
        loader.itself, batches = loader, iter(loader)
        next(batches)
        assert reading.wait(60)  # what no thread has begun to read is dropped with the pass
        del loader, batches
        forgotten.set()
        assert collected.wait(60)
    finally:
        gc.enable()
    assert threads[0].startswith("eruv-read") and not errors


def test_the_source_decides_by_the_video_never_by_the_moment(videos):
    """The same clip alone and among others of its group of pictures, soon and late: the same pixels, to the bit."""
    wanted = [(videos / name, start, start) for name in ("vp8.webm", "vp9.webm", "mjpeg.avi", "h264_b.mp4")
              for start in (0, 3, 5, 50, 52, 100)]
    with ClipLoader(wanted, batch_size=len(wanted), device="cpu", threads=1) as together:
        (batch,) = together
    want = {(info.video, info.frames): clip for clip, info in zip(batch.clips, batch.info, strict=True)}
    for options in (dict(batch_size=1, threads=1), dict(batch_size=1, threads=3), dict(batch_size=5, threads=2)):
        with ClipLoader(wanted, device="cpu", shuffle=True, **options) as loader:
            for batch in loader:
                for clip, info in zip(batch.clips, batch.info, strict=True):
                    assert torch.equal(clip, want[info.video, info.frames])
    for clip in wanted:
        with ClipLoader([clip], batch_size=1, device="cpu", threads=1) as alone:
            (batch,) = alone
        assert torch.equal(batch.clips[0], want[batch.info[0].video, batch.info[0].frames])


def test_an_engine_that_was_interrupted_starts_afresh(datasets, monkeypatch):
    """A batch that is left in DALI would come out under the next one's name."""
    with RelationLoader(datasets["raw"], batch_size=2, device="cpu", pairs_per_epoch=20, seed=5) as loader:
        whole = epoch_of(loader, 0)
        outputs = dali.Pipeline.outputs

        def interrupted(pipeline):
            outputs(pipeline)  # taken, and lost before anybody noted it
            raise KeyboardInterrupt

        monkeypatch.setattr(dali.Pipeline, "outputs", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(iter(loader))
        monkeypatch.setattr(dali.Pipeline, "outputs", outputs)
        assert epoch_of(loader, 0) == whole
