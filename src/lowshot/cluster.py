"""Pieces of work on the workers of a Ray cluster: on this machine's cores, or on many machines.

Which worker does what, and what is done again when one dies, is Ray's business. What is done here must therefore bear
to be begun twice: it leaves whole files or none, and finds what is finished.
"""

import os
import platform
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from threading import current_thread
from typing import Any, TextIO, TypeVar

from lowshot.errors import InputError, LowshotError, MissingExtra, SettingsError

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")

ATTEMPTS = 3
"""How often one piece of work is begun anew when its worker dies (a killed process, a lost machine)."""
SECONDS_TO_ANSWER = 10
STORE_BYTES = 2**27
"""Of Ray's memory for results on this machine: ours are file names and scores."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Where the workers are, and what each piece of work takes there."""

    address: str | None = None
    """Of a running cluster, as ``ray start`` prints it, or "auto"; None: one that lives on this machine's cores for as
    long as the command."""
    workers: int | None = None
    """At most so many at a time, on this machine; None: as many as cores allow."""
    threads: int = 1
    """CPU cores of one worker."""
    gpus: float | None = None
    """GPUs of one worker; a share lets several work on one. None: one if the cluster has any."""

    def __post_init__(self) -> None:
        if self.address is not None and self.workers is not None:
            raise SettingsError("workers: a running cluster has the workers that it has; leave out --workers")


def on_cluster(
    work: Callable[[Job], Outcome], jobs: Sequence[Job], cluster: Cluster, shared: Path
) -> Iterator[tuple[Job, Outcome | LowshotError]]:
    """Every job with what became of it, in the order in which they end.

    Args:
        work: is sent to the workers, which call it in this process's working directory. What it raises, ends all.
        jobs: one piece of work each.
        cluster: where.
        shared: a folder that every worker must see at the same place, as results are files there.

    Yields:
        the job, and what ``work`` returned; an error in its stead where workers died over it time and again.

    Raises:
        MissingExtra: Ray is not installed.
        InputError: no cluster at this address, or one whose machines do not see ``shared``.
        SettingsError: no machine of the cluster has what one worker needs.
    """
    ray = _import_ray(cluster)
    with _connected(ray, cluster):
        gpus = _gpus_of_a_worker(ray, cluster)
        task = ray.remote(_on_worker).options(num_cpus=cluster.threads, num_gpus=gpus, max_retries=ATTEMPTS)
        sent = ray.put(work)
        seen = str(Path.cwd()), str(shared.resolve())
        running = {task.remote(sent, job, seen): job for job in jobs}
        try:
            while running:
                (ended,), _ = ray.wait(list(running), num_returns=1)
                yield running.pop(ended), _outcome(ray, ended)
        finally:
            for left in running:  # Ctrl-C, a full disk: others may use the cluster next
                ray.cancel(left, force=True)


def _on_worker(work: Callable[[Job], Outcome], job: Job, seen: Sequence[str]) -> Outcome:
    for folder in seen:
        if not Path(folder).is_dir():
            raise InputError(
                f"{folder}: the machine {platform.node()} does not see this folder; start where all machines of the "
                "cluster see scans, results and the working directory at the same place (NFS, a work file system)"
            )
    os.chdir(seen[0])  # a path that was typed means the same file here
    return work(job)


def _outcome(ray: Any, ended: Any) -> Any:
    try:
        return ray.get(ended)
    except ray.exceptions.RayTaskError as error:  # what the work itself raised
        raise error.cause from None
    except ray.exceptions.RayError as error:
        first = str(error).strip().partition("\n")[0]
        return LowshotError(f"its workers died, {ATTEMPTS + 1} times in all: {first}")


def _import_ray(cluster: Cluster) -> Any:
    if cluster.address is None and "ray" not in sys.modules:  # it reads this once
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # else whoever reaches this machine could run programs on it
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing of a hospital's machine is sent anywhere
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("--engine ray needs ray: pip install 'lowshot[ray]'") from error
    return ray


@contextmanager
def _connected(ray: Any, cluster: Cluster) -> Iterator[None]:
    quiet = {"configure_logging": False, "log_to_driver": False}
    try:
        _refuse_where_nobody_listens(cluster.address)
        if cluster.address is not None:
            ray.init(address=cluster.address, **quiet)
        else:
            cores = None if cluster.workers is None else cluster.workers * cluster.threads
            ray.init(address="local", num_cpus=cores, include_dashboard=False, object_store_memory=STORE_BYTES, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        first = str(error).strip().partition("\n")[0]
        raise InputError(f"no Ray cluster at {cluster.address or 'this machine'}: {first}") from error
    try:
        with redirect_stdout(_WithoutRay(sys.stdout)):
            yield
    finally:
        ray.shutdown()


class _WithoutRay:
    """Standard output without what Ray's own thread prints there when a worker dies: a result may be JSON."""

    def __init__(self, stdout: TextIO) -> None:
        self._stdout = stdout

    def write(self, text: str) -> int:
        return len(text) if current_thread().name.startswith("ray_") else self._stdout.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stdout, name)


def _refuse_where_nobody_listens(address: str | None) -> None:
    """At once: Ray would try for many minutes."""
    host, colon, port = (address or "").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()


def _gpus_of_a_worker(ray: Any, cluster: Cluster) -> float:
    """Refuses what no machine has: Ray would wait for such a machine for ever."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = cluster.gpus
    if gpus is None:
        gpus = 1.0 if any(machine.get("GPU") for machine in machines) else 0.0
    if not any(machine.get("CPU", 0) >= cluster.threads and machine.get("GPU", 0) >= gpus for machine in machines):
        most = [max((machine.get(what, 0) for machine in machines), default=0) for what in ("CPU", "GPU")]
        raise SettingsError(
            f"a worker is to have {cluster.threads} CPU cores and {gpus:g} GPUs; no machine of the cluster has these: "
            f"at most {most[0]:g} cores and {most[1]:g} GPUs"
        )
    return gpus
