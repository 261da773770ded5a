"""prepare on Ray: what a single run writes, whoever is killed; and the same events as from workers of one machine."""

import pickle
import re
import signal
import socket
import sys
import textwrap
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from alike import same_dataset
from prepared import draw_long, table, while_decoding
from running import with_our_path

from eruv_dali.errors import EruvError
from eruv_dali.prepare import prepare, ray_workers
from eruv_dali.prepare.order import GPU_WORKERS
from eruv_dali.prepare.ray_workers import NODES_LOST, RayWorkers, connected, work_on_node
from eruv_dali.prepare.scan import Job
from eruv_dali.prepare.workers import Done, Lost, Progress
from eruv_dali.video.find import Video

OPTIONS = dict(device="cpu", pack="video")


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return draw_long(tmp_path_factory.mktemp("films"), "a", "b", "c", "victim", "z")


@pytest.fixture(scope="module")
def whole(films, tmp_path_factory):
    return prepare([films], tmp_path_factory.mktemp("whole"), **OPTIONS, workers=1).folder


@pytest.fixture
def real_ray(monkeypatch):
    """Ray itself, its nodes as processes of this machine, with this process's environment."""
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    yield ray
    ray.shutdown()


# WHAT is done over frame 128 of WHOSE, so many TIMES, but not on the node of raylet HEAD. A decoder is a child of a Ray
# worker, which is one of its node's raylet.
MISHAP = """
if path.name in os.environ["WHOSE"].split():
    with open(os.environ["MISHAPS"], "a+") as file:
        file.seek(0)
        done = len(file.readlines())
        if done < int(os.environ["TIMES"]):
            raylet = int(open(f"/proc/{os.getppid()}/stat").read().rsplit(")", 1)[1].split()[1])
            if "HEAD" not in os.environ or open(os.environ["HEAD"]).read() != str(raylet):
                print(os.getpid(), file=file, flush=True)
                exec(os.environ["WHAT"])
"""
KILL_DECODER, KILL_WORKER, KILL_NODE = (f"os.kill({who}, signal.SIGKILL); time.sleep(100)" for who in (
    "os.getpid()", "os.getppid()", "raylet"))


@pytest.fixture
def mishap(tmp_path, monkeypatch):
    while_decoding(monkeypatch, tmp_path / "site", MISHAP)
    site = tmp_path / "site" / "sitecustomize.py"  # for decoders, not for Ray's many processes
    site.write_text("import sys\nif any('workers.serve' in word for word in sys.orig_argv):\n"
                    + textwrap.indent(site.read_text(), "    "))
    monkeypatch.setenv("PYTHONPATH", with_our_path()["PYTHONPATH"])

    def arrange(what, times, whose="victim.mp4"):
        for name, value in (("WHAT", what), ("TIMES", str(times)), ("MISHAPS", str(tmp_path / "mishaps")),
                            ("WHOSE", whose)):
            monkeypatch.setenv(name, value)
        return tmp_path / "mishaps"

    return arrange


@pytest.mark.slow
@pytest.mark.parametrize("what", [KILL_DECODER, KILL_WORKER], ids=["decoder", "worker"])
def test_a_worker_killed_once_is_no_loss(films, whole, mishap, tmp_path, real_ray, capsys, what):
    happened = mishap(what, 1)
    prepare([films], tmp_path / "out", **OPTIONS, workers=2, ray="local")
    assert len(happened.read_text().split()) == 1
    assert "victim.mp4: its worker process was killed (out of memory?); it is tried again" in capsys.readouterr().err
    same_dataset(tmp_path / "out", whole)
    assert not real_ray.is_initialized()


@pytest.mark.slow
def test_a_worker_killed_twice_is_counted(films, whole, mishap, tmp_path, real_ray, capsys):
    mishap(KILL_WORKER, 2)
    out = tmp_path / "out"
    prepare([films], out, **OPTIONS, workers=2, ray="local")
    assert [tuple(row.values()) for row in table(out, "rejected.csv")][1] == (
        "victim.mp4", "its worker process was killed twice (out of memory?); prepare tries it again when it is run "
                      "again")
    capsys.readouterr()
    prepare([films], out, **OPTIONS, workers=2, ray="local")
    assert "1/1 videos" in capsys.readouterr().err
    same_dataset(out, whole)


@pytest.mark.slow
def test_a_node_lost(films, whole, mishap, tmp_path, real_ray, monkeypatch, capsys):
    from ray.cluster_utils import Cluster

    happened = mishap(KILL_NODE, 1, "a.mp4 b.mp4 c.mp4 victim.mp4 z.mp4")
    monkeypatch.setenv("HEAD", str(tmp_path / "head"))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        (head,) = [process.process.pid for process in cluster.head_node.all_processes["raylet"]]
        (tmp_path / "head").write_text(str(head))
        cluster.add_node(num_cpus=1)
        prepare([films], tmp_path / "out", **OPTIONS, ray=cluster.address)
    finally:
        real_ray.shutdown()
        cluster.shutdown()
    assert happened.exists() and "killed" not in capsys.readouterr().err  # it says nothing about the video
    same_dataset(tmp_path / "out", whole)


@pytest.mark.slow
def test_no_cluster(films, tmp_path, real_ray, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(EruvError, match=r"ray 'auto': no Ray cluster answers there .*; start one with `ray start`"):
        prepare([films], tmp_path / "out", **OPTIONS, ray="auto")
    assert not [*(tmp_path / "out" / "records").iterdir()]


def test_refusals(films, tmp_path, monkeypatch):
    """Before anything is written, and at once, where Ray would wait for minutes."""
    pytest.importorskip("ray", reason="Ray is not installed")
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = server.getsockname()[1]
    for address, said in ((f"127.0.0.1:{silent}", "no Ray cluster answers there (Connection refused)"),
                          ("nonsense", "is none of auto, local and HOST:PORT"), ("head:0", "is none of auto"),
                          ("head:x", "is none of auto"), (":6379", "is none of auto")):
        began = time.monotonic()
        with pytest.raises(EruvError, match=re.escape(said)):
            prepare([films], tmp_path / "out", **OPTIONS, ray=address)
        assert time.monotonic() - began < 10 and not (tmp_path / "out").exists()
    with pytest.raises(EruvError, match="run prepare on one of its nodes"), connected("ray://head:10001"):
        pass
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EruvError, match="ray: is not installed; pip install"), connected("auto"):
        pass


JOB = Job(Video("v.mp4", Path(__file__)))


class Node:
    """In place of Workers: says EVENTS."""

    events: list = []

    def __init__(self, make, *, count, patience):
        assert (make, count, patience) == (len, 1, 5)

    def run(self, tasks):
        assert list(tasks) == [JOB]
        for event in self.events:
            if isinstance(event, Exception):
                raise event
            yield event


@pytest.mark.parametrize("events, passed", [
    ([Progress(JOB, 128), Progress(JOB, 256), Done(JOB, 300)], [Done(JOB, 300)]),
    ([Progress(JOB, 128), Progress(JOB, 256), Lost(JOB, True, None)], [Progress(JOB, 256), Lost(JOB, True, None)]),
    ([EruvError("out: full")], ["out: full (on node here)"]),
    ([RuntimeError("no")], ["no"]),
])
def test_what_a_node_passes_on(monkeypatch, events, passed):
    monkeypatch.setattr(ray_workers, "Workers", Node)
    monkeypatch.setattr(ray_workers.socket, "gethostname", lambda: "here")
    monkeypatch.setattr(Node, "events", events)
    monkeypatch.setattr(ray_workers, "_kept", {})
    said = list(work_on_node(pickle.dumps(len), 5, JOB, True))
    assert [str(event) if isinstance(event, Exception) else event for event in said] == passed


def test_a_node_that_does_not_see_the_file(tmp_path):
    (error,) = work_on_node(b"", 5, Job(Video("v.mp4", tmp_path / "v.mp4")), True)
    assert "v.mp4: is not seen by node" in str(error)


class Cluster:
    """In place of Ray: each task ends at once as `ends` says, one after another; counts what is in flight."""

    class exceptions:
        class RayError(Exception): ...

        class NodeDiedError(RayError): ...

        class WorkerCrashedError(RayError): ...

        class OutOfMemoryError(RayError): ...

    def __init__(self, ends):
        self.ends, self.most, self.handed = deque(ends), 0, []

    offers = {"CPU": 2.0}
    asked = dict(num_cpus=1, num_gpus=0, max_retries=0, num_returns="streaming")

    def remote(self, **options):
        assert options == self.asked
        return lambda work: SimpleNamespace(remote=self.hand)

    def hand(self, make, patience, task, exists):
        self.handed.append(task)
        return iter([self.ends.popleft()])

    def cluster_resources(self):
        return self.offers

    def wait(self, flight, num_returns, timeout=None, fetch_local=True):
        self.most = max(self.most, len(flight))
        return flight[:1], flight[1:]

    def get(self, end):
        if isinstance(end, type):
            raise end("why\nand where")
        return end

    def cancel(self, stream, force):
        self.handed.append("cancelled")


def on(monkeypatch, cluster, tasks, **options):
    monkeypatch.setitem(sys.modules, "ray", cluster)
    with RayWorkers(len, patience=5, **options) as workers:
        return list(workers.run(deque(tasks)))


def test_in_flight_at_a_time(monkeypatch):
    jobs = [Job(Video(f"{n}.mp4", Path(__file__))) for n in range(9)]
    for count, most in ((None, 4), (3, 3), (1, 1)):
        cluster = Cluster(Done(job, 1) for job in jobs)
        assert on(monkeypatch, cluster, jobs, count=count) == [Done(job, 1) for job in jobs]
        assert cluster.most == most and cluster.handed == jobs


@pytest.mark.parametrize("offers, share, resources, most", [
    ({"CPU": 4.0, "GPU": 2.0}, 1 / 3, {}, 8), ({"CPU": 40.0, "GPU": 2.0}, 1 / 3, {}, 12),
    ({"CPU": 40.0, "GPU": 2.0, "NVDEC": 5.0}, 1 / 3, {"NVDEC": 1}, 10), ({"CPU": 40.0, "NVDEC": 5.0}, 0, {}, 80),
    ({"CPU": 40.0}, 1 / 3, {}, 2), ({"CPU": 3.0, "GPU": 1.0}, 1.0, {}, 2)])
def test_what_a_task_takes_of_the_cluster(monkeypatch, offers, share, resources, most):
    jobs = [Job(Video(f"{n}.mp4", Path(__file__))) for n in range(100)]
    cluster = Cluster(Done(job, 1) for job in jobs)
    cluster.offers = offers
    cluster.asked = {**Cluster.asked, "num_gpus": share, **({"resources": resources} if resources else {})}
    assert len(on(monkeypatch, cluster, jobs, count=None, gpu_share=share)) == 100 and cluster.most == most


@pytest.mark.slow
@pytest.mark.parametrize("resources, at_a_time", [({"NVDEC": 2}, 2), ({}, 3)])
def test_thirds_of_a_gpu_and_its_decoders(real_ray, monkeypatch, tmp_path, resources, at_a_time):
    began_by = str(tmp_path)

    def record(make, patience, task, exists):
        import os
        import time

        import ray

        began = time.time()
        with open(f"{began_by}/{task.video.name}", "w"):
            pass
        # A busy machine may take many seconds to start a Ray worker: the first ones wait for each other.
        while len(os.listdir(began_by)) < at_a_time and time.time() < began + 120:
            time.sleep(0.1)
        time.sleep(1)  # and leave time for one too many
        yield Done(task, (began, time.time(), ray.get_runtime_context().get_assigned_resources(),
                          os.environ.get("CUDA_VISIBLE_DEVICES")))

    monkeypatch.setattr(ray_workers, "work_on_node", record)
    real_ray.init(num_cpus=6, num_gpus=1, resources=resources, include_dashboard=False, log_to_driver=False)
    jobs = [Job(Video(f"{n}.mp4", Path(__file__))) for n in range(6)]
    with RayWorkers(len, count=None, patience=5, gpu_share=1 / GPU_WORKERS) as workers:
        told = [event.result for event in workers.run(deque(jobs))]
    assert len(told) == 6
    for _, _, assigned, gpu in told:
        assert assigned == {"CPU": 1.0, "GPU": pytest.approx(1 / 3, abs=1e-3), **dict.fromkeys(resources, 1.0)}
        assert gpu == "0"
    alive = [sum(began <= moment < ended for began, ended, *_ in told) for moment, *_ in told]
    assert max(alive) == at_a_time


@pytest.mark.slow
def test_a_node_short_of_memory(films, tmp_path, real_ray, monkeypatch, capsys):
    """Ray ends every task: the machine always holds more than this threshold."""
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.001")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    with pytest.raises(EruvError, match=r"none of the 1 videos can be used; .*killed twice \(by Ray: .*memory"):
        prepare([films / "a.mp4"], tmp_path / "out", **OPTIONS, workers=1, ray="local")
    (row,) = table(tmp_path / "out", "rejected.csv")
    assert re.fullmatch(r"its worker process was killed twice \(by Ray: .*memory.*\); prepare tries it again when it "
                        "is run again", row["reason"])


def test_another_gpu_is_another_process(monkeypatch):
    made = []

    class Kept(Node):
        events = [Done(JOB, 1)]

        def __init__(self, make, **options):
            made.append(ray_workers.os.environ["CUDA_VISIBLE_DEVICES"])

        def __exit__(self, *error):
            made.append("ended")

    monkeypatch.setattr(ray_workers, "Workers", Kept)
    monkeypatch.setattr(ray_workers, "_kept", {})
    for gpu in ("0", "0", "1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpu)
        assert [*work_on_node(pickle.dumps(len), 5, JOB, True)] == [Done(JOB, 1)]
    assert made == ["0", "ended", "1"]


def test_who_died(monkeypatch):
    died = Cluster.exceptions
    killed = Lost(JOB, False, -signal.SIGKILL)
    assert on(monkeypatch, Cluster([died.WorkerCrashedError]), [JOB], count=1) == [killed]
    assert on(monkeypatch, Cluster([died.OutOfMemoryError]), [JOB], count=1) == [replace(killed, why="by Ray: why")]
    cluster = Cluster([died.NodeDiedError] * NODES_LOST + [Done(JOB, 3)])
    assert on(monkeypatch, cluster, [JOB], count=1) == [Done(JOB, 3)]
    assert on(monkeypatch, Cluster([died.NodeDiedError] * (NODES_LOST + 1)), [JOB], count=1) == [killed]
    cluster = Cluster([died.RayError, Done(JOB, 3)])
    with pytest.raises(EruvError, match=rf"{JOB.video.path}: Ray could not work on it \(why\); is the same eruv_dali"):
        on(monkeypatch, cluster, [JOB, JOB], count=2)
    assert cluster.handed[2:] == ["cancelled", "cancelled"]
