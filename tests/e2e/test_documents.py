"""The commands of the README, the tutorial and the page for people on call, run in order. Each must print what the page shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kits.kube_client import Cluster
from tests.kits.page_commands import run_page


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md", "docs/operations.md"])
def test_the_commands_of_a_page_print_what_it_shows(page: str, exclusive_cluster: Cluster, tmp_path: Path) -> None:
    assert run_page(page, tmp_path) > 5
