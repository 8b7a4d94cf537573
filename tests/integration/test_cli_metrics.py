"""``kubesweep run --metrics`` and ``kubesweep worker --metrics``."""

from __future__ import annotations

import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.integration.command_line import CommandLine, read_until
from tests.kits.deadlines import scaled
from tests.kits.servers import free_port


def test_a_run_serves_the_metrics_of_its_workers_and_a_second_one_goes_on_without(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path)
    file = cli.slow(6)
    address = f"127.0.0.1:{free_port()}"
    run = cli.start("run", "--once", "-f", file, "--metrics", address)
    try:
        read_until(run.stderr, "handler entered")
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=scaled(30)) as answer:
            families = {family.name: family for family in text_string_to_metric_families(answer.read().decode())}
        phases = {s.labels["phase"]: s for s in families["kubesweep_worker_phase_seconds"].samples}
        assert phases["effect"].value > 0, "the effect has not ended yet"
        assert phases["effect"].labels.items() >= {"namespace": "default", "schedule": "slow"}.items()
        worker = cli.start("worker", "-f", file, "--metrics", address)
        warned = read_until(worker.stderr, "no metrics are served")
        assert f"{address} cannot be used (Address already in use): give --metrics another address" in warned
        worker.terminate()
        worker.communicate(timeout=scaled(60))
        assert worker.returncode == 0
    finally:
        (tmp_path / "go").touch()
        _, errors = run.communicate(timeout=scaled(60))
    assert run.returncode == 0, errors
    assert cli.states() == {"new": 6}
