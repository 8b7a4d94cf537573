"""The commands of README and tutorial, taken from the pages and run one after the other; each must print what the page shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kits.kube_client import Cluster
from tests.kits.page_commands import follow


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_a_page_s_commands_print_what_it_shows(page: str, whole_cluster: Cluster, tmp_path: Path) -> None:
    assert follow(page, tmp_path) > 5
