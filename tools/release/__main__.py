"""``python -m tools.release build|check|version``: what a release publishes, made and examined on one machine.

- ``build`` writes every file of a release into a folder: wheel, sdist, chart, manifests and their checksums.
- ``check`` builds them and uses them as a new user would.
- ``version`` prints the version, or fails if a tag or a file disagrees with it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools.release.build import DEFAULT, build
from tools.release.check import check
from tools.release.version import disagreements, version


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("build", "check"):
        command = commands.add_parser(name)
        command.add_argument("--out", type=Path, default=DEFAULT, help="folder of the files")
    commands.choices["build"].add_argument(
        "--digest",
        action="append",
        default=[],
        metavar="NAME=sha256:...",
        help="pin an image of the chart: controller, worker or redis",
    )
    commands.add_parser("version").add_argument("--tag", help="the tag of the release, such as v0.1.0")
    given = parser.parse_args(arguments)
    if given.command == "version":
        return _version(given.tag)
    if given.command == "build":
        for file in build(given.out, dict(each.split("=", 1) for each in given.digest)):
            print(file.relative_to(given.out))
        return 0
    return check(given.out)


def _version(tag: str | None) -> int:
    found = disagreements(tag)
    for each in found:
        print(each, file=sys.stderr)
    if not found:
        print(version())
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
