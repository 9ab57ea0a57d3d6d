import os
import signal

import pytest

pytest.importorskip("ray")

from lowshot.cluster import Cluster, on_cluster
from lowshot.errors import InputError, LowshotError, OutputError, SettingsError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # Ray's own, of the processes and sockets that it leaves to the system
]
TWO = Cluster(workers=2)


def worked(jobs, work, folder, cluster=TWO):
    return dict(on_cluster(work, jobs, cluster, folder))


def test_jobs_are_done_by_two_other_processes_of_one_thread_in_the_same_folder(tmp_path):
    import time

    def work(job):
        time.sleep(0.2)
        return job * 2, os.getpid(), os.environ.get("OMP_NUM_THREADS"), os.getcwd()

    found = worked(range(8), work, tmp_path)
    assert {job: outcome[0] for job, outcome in found.items()} == {job: 2 * job for job in range(8)}
    assert len({outcome[1] for outcome in found.values()} - {os.getpid()}) == 2
    assert {outcome[2:] for outcome in found.values()} == {("1", os.getcwd())}


def test_a_worker_that_is_killed_costs_nothing_but_time(tmp_path):
    def work(job):
        with (tmp_path / f"{job}.txt").open("a") as stream:
            stream.write("begun\n")
        if job == 1 and (tmp_path / "1.txt").read_text().count("begun") == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return job

    assert worked(range(4), work, tmp_path) == {job: job for job in range(4)}
    begun = [(tmp_path / f"{job}.txt").read_text().count("begun") for job in range(4)]
    assert begun == [1, 2, 1, 1]


def test_work_that_always_kills_its_worker_is_reported_and_the_rest_is_done(tmp_path):
    def work(job):
        if job == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return job

    found = worked(range(3), work, tmp_path)
    assert isinstance(found.pop(0), LowshotError)
    assert found == {1: 1, 2: 2}


def test_what_the_work_raises_ends_all_and_keeps_its_class_and_words(tmp_path):
    def work(job):
        raise OutputError(f"{job}: the disk is full")

    with pytest.raises(OutputError, match="the disk is full"):
        worked(range(3), work, tmp_path)


def test_a_folder_that_a_worker_does_not_see_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not see this folder"):
        worked([1], lambda job: job, tmp_path / "elsewhere")


def test_a_worker_larger_than_every_machine_is_refused_instead_of_awaited(tmp_path):
    ours = Cluster(workers=1, gpus=1.0)
    with pytest.raises(SettingsError, match="1 GPUs; no machine"):
        worked([1], lambda job: job, tmp_path, ours)


def test_no_cluster_at_the_address(tmp_path):
    with pytest.raises(InputError, match=r"no Ray cluster at 127\.0\.0\.1:1"):
        worked([1], lambda job: job, tmp_path, Cluster(address="127.0.0.1:1"))


def test_workers_of_a_running_cluster_are_not_ours_to_count():
    with pytest.raises(SettingsError, match="leave out --workers"):
        Cluster(address="auto", workers=2)
