"""What workers import is kept light here: every process of a pool imports this module anew."""

import os
import threading
import time
from dataclasses import replace
from functools import partial

import pytest

from engine.contract.errors import UserError
from trainer.data.files import DiskFull
from trainer.prepare.workers import LocalWorkers, RayWorkers

VIDEOS = 8
STORE_BYTES = 78_643_200
"""The least that Ray accepts for a node's object store."""


def refuse(job: int) -> int:
    if job == 2:
        raise DiskFull("There is no room.", "out")
    return job * job


def die(job: int) -> int:
    os._exit(1)


@pytest.mark.parametrize("count", [1, 2])
def test_every_job_is_answered_and_a_users_mistake_comes_back_as_itself(count: int):
    assert sorted(LocalWorkers(count).do(refuse, [0, 1, 3, 4])) == [0, 1, 9, 16]
    with pytest.raises(DiskFull, match="no room"):
        list(LocalWorkers(count).do(refuse, [0, 1, 2, 3]))


def test_a_process_that_is_killed_is_said_to_be():
    with pytest.raises(UserError, match=r"A worker was killed.*fewer --workers"):
        list(LocalWorkers(2).do(die, [1, 2]))


def test_a_cluster_that_is_not_there_is_said_at_once():
    pytest.importorskip("ray", reason="ray is an optional requirement (requirements-ray.txt)")
    with pytest.raises(UserError, match=r"No Ray cluster answers at '127\.0\.0\.1:1'"):
        list(RayWorkers("127.0.0.1:1").do(refuse, [1]))


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster of two workers with one processor each; the second is yielded, too, to be killed."""
    pytest.importorskip("ray", reason="ray is an optional requirement (requirements-ray.txt)")
    import ray
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": STORE_BYTES, "include_dashboard": False}
    nodes = Cluster(initialize_head=True, head_node_args=node)
    yield nodes, nodes.add_node(**node)
    ray.shutdown()
    nodes.shutdown()


def test_stages_on_two_ray_workers_answer_as_here_though_one_is_killed(
    cluster, tmp_path, write_video, numbered, workshop
):
    from tests.conftest import voice_like
    from tests.trainer.prepare.conftest import row_of
    from trainer.prepare.rows import work_on
    from trainer.prepare.video_stages import VIDEO_STAGES

    frames = [frame.repeat(5, axis=0).repeat(5, axis=1) for frame in numbered(75)]
    rows = []
    for index in range(VIDEOS):
        write_video(tmp_path / "videos" / f"{index}.mp4", frames, audio=voice_like(3.0) * (index + 1) / VIDEOS)
        rows.append(row_of(f"{index}.mp4"))
    here = replace(workshop, folder=tmp_path / "here")
    wanted = [work_on(row, VIDEO_STAGES, here) for row in rows]

    nodes, victim = cluster
    done_at_the_kill: list[int] = []

    def kill_in_the_middle() -> None:
        journals = workshop.folder / "rows"
        while not (done := list(journals.rglob("*.json"))):
            time.sleep(0.02)
        done_at_the_kill.append(len(done))
        nodes.remove_node(victim, allow_graceful=False)

    killer = threading.Thread(target=kill_in_the_middle, daemon=True)
    killer.start()
    work = partial(work_on, stages=VIDEO_STAGES, workshop=workshop)
    answers = sorted(RayWorkers(nodes.address).do(work, rows), key=lambda row: row["id"])
    killer.join()
    assert 1 <= done_at_the_kill[0] < VIDEOS
    assert answers == wanted
    with pytest.raises(DiskFull, match="no room"):
        list(RayWorkers(nodes.address).do(refuse, [2]))
