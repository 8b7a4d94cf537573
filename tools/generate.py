"""Writes the files that are generated from the code (``make generate``).

``--check`` writes nothing. It prints the differences and fails if there are any; ``make lint`` runs it.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable
from pathlib import Path

from tools import api_page, manifests, values_page
from tools.dashboard import build

ROOT = Path(__file__).parents[1]
FILES: dict[str, Callable[[], str]] = {
    "manifests/crd.yaml": manifests.crd,
    "charts/kubesweep/files/crd.yaml": manifests.crd,
    # Defaults for releases with the values of an older chart: a template cannot read values.yaml itself.
    "charts/kubesweep/files/values.yaml": lambda: (ROOT / "charts/kubesweep/values.yaml").read_text(encoding="utf-8"),
    "charts/kubesweep/files/dashboard.json": build.page,
    "docs/api.md": api_page.page,
    "docs/values.md": values_page.page,
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail where a file differs")
    check = parser.parse_args(arguments).check
    stale = 0
    for name, make in FILES.items():
        file, text = ROOT / name, make()
        found = file.read_text(encoding="utf-8") if file.exists() else ""
        if found == text:
            continue
        stale += 1
        if check:
            lines = difflib.unified_diff(found.splitlines(), text.splitlines(), name, f"{name} as generated", n=1)
            print("\n".join([*list(lines)[:20], f"{name} is out of date: run make generate"]))
        else:
            file.write_text(text, encoding="utf-8")
            print(f"written: {name}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
