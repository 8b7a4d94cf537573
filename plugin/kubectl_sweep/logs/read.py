"""Reads the logs of several pods: those that exist merged by time, or with ``follow`` as they are written, in new pods too.

To follow, one thread watches the pods and one reads each log; all put their lines into one queue, from which the main thread prints. The
threads are daemons: a read that waits for the next line cannot be interrupted, and ends with the program.
"""

from __future__ import annotations

import heapq
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from kubectl_sweep.cluster.client import Cluster
from kubectl_sweep.cluster.errors import ApiRefused
from kubectl_sweep.cluster.kinds import PODS
from kubectl_sweep.logs.lines import split_time
from kubectl_sweep.logs.pods import LogSource, has_log, in_order, is_running, log_source
from kubesweep.errors import KubesweepError

__all__ = ["Line", "Selection", "follow", "read"]

PAUSE = 1.0  # seconds before a log is opened again
SKEW = 60.0  # seconds by which the clocks of this machine and of a node may differ
GONE = (400, 404)  # the pod has ended and is deleted, or its log is


@dataclass(frozen=True, slots=True)
class Selection:
    """``since``: seconds. ``tail``: lines of each pod; None: all."""

    namespace: str
    selector: str
    since: float | None = None
    tail: int | None = None
    previous: bool = False


class Line(NamedTuple):
    at: float  # seconds since the epoch, by the kubelet
    pod: str
    text: str


def read(cluster: Cluster, selection: Selection) -> Iterator[Line]:
    """The lines of all pods, by time."""
    pods = [
        each
        for each in in_order(cluster.pods(selection.namespace, selection.selector))
        if has_log(each, previous=selection.previous)
    ]
    logs = [list(_lines(cluster, selection, log_source(each))) for each in pods]
    yield from heapq.merge(*logs, key=lambda line: line.at)


def follow(cluster: Cluster, selection: Selection) -> Iterator[Line]:
    """The lines from now on, and the last ones before; never ends by itself. Raises what the watch of the pods raises."""
    lines: queue.SimpleQueue[Line | BaseException] = queue.SimpleQueue()
    threading.Thread(target=_watch, args=(cluster, selection, lines), daemon=True, name="pods").start()
    while True:
        found = lines.get()
        if isinstance(found, BaseException):
            raise found
        yield found


def _watch(cluster: Cluster, selection: Selection, lines: queue.SimpleQueue[Line | BaseException]) -> None:
    """Start a reader for each container that starts."""
    known: set[LogSource] = set()
    try:
        for change in cluster.watch_pods(selection.namespace, selection.selector):
            source = log_source(change.object)
            if change.kind == "DELETED" or source in known or not has_log(change.object):
                continue
            known.add(source)
            # Everything that a new pod has printed is new; of one that exists, only the end is wanted.
            chosen = selection if change.kind == "LISTED" else replace(selection, tail=None, since=None)
            threading.Thread(target=_pump, args=(cluster, chosen, source, lines), daemon=True, name=source.pod).start()
    except BaseException as error:
        lines.put(error)


def _pump(
    cluster: Cluster, selection: Selection, source: LogSource, lines: queue.SimpleQueue[Line | BaseException]
) -> None:
    """Read a log until its container ends. Proxies and API servers end a long connection, so it is opened again where it broke."""
    last = 0.0
    try:
        while True:
            for line in _lines(cluster, selection, source, follow=True):
                if not last or line.at > last:
                    lines.put(line)
                last = max(last, line.at)
            pod = cluster.get(PODS, selection.namespace, source.pod)
            if pod is None or log_source(pod) != source or not is_running(pod):
                return
            selection = replace(selection, tail=None, since=time.time() - last + SKEW if last else None)
            time.sleep(PAUSE)
    except KubesweepError as error:
        lines.put(error)


def _lines(cluster: Cluster, selection: Selection, source: LogSource, *, follow: bool = False) -> Iterator[Line]:
    try:
        for data in cluster.logs(
            selection.namespace, source.pod, source.container,
            follow=follow, since=selection.since, tail=selection.tail, previous=selection.previous, timestamps=True,
        ):  # fmt: skip
            at, text = split_time(data.decode(errors="replace"))
            yield Line(at, source.pod, text)
    except ApiRefused as refused:
        if refused.status not in GONE:
            raise
