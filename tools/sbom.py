"""Prints an image's components as CycloneDX: the Python that runs this, the Python packages of its environment, and the Debian packages.

Uses the standard library only: it runs during the build of an image, in the image's environment.
"""

from __future__ import annotations

import json
import platform
import re
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

DEBIAN = Path("/var/lib/dpkg/status")


def python_packages() -> list[dict[str, Any]]:
    found = []
    for package in distributions():
        name, licence = package.metadata["Name"], package.metadata.json.get("license_expression")
        purl = f"pkg:pypi/{re.sub('[-_.]+', '-', name).lower()}@{package.version}"
        component: dict[str, Any] = {
            "type": "library",
            "name": name,
            "version": package.version,
            "purl": purl,
            "bom-ref": purl,
        }
        if licence:
            component["licenses"] = [{"expression": licence}]
        found.append(component)
    return found


def interpreter() -> dict[str, Any]:
    """CPython itself: the official images compile it, so no package names it."""
    version = platform.python_version()
    purl = f"pkg:generic/cpython@{version}"
    return {
        "type": "platform",
        "name": "CPython",
        "version": version,
        "purl": purl,
        "bom-ref": purl,
        "cpe": f"cpe:2.3:a:python:python:{version}:*:*:*:*:*:*:*",
        "licenses": [{"license": {"id": "PSF-2.0"}}],
    }


def debian_packages() -> list[dict[str, Any]]:
    found = []
    for entry in DEBIAN.read_text().split("\n\n") if DEBIAN.exists() else []:
        fields = dict(re.findall(r"^(Package|Version|Architecture|Status): (.*)$", entry, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            purl = f"pkg:deb/debian/{fields['Package']}@{fields['Version']}?arch={fields['Architecture']}"
            found.append(
                {
                    "type": "library",
                    "name": fields["Package"],
                    "version": fields["Version"],
                    "purl": purl,
                    "bom-ref": purl,
                }
            )
    return found


def main() -> None:
    components = sorted(
        [interpreter(), *python_packages(), *debian_packages()], key=lambda component: str(component["purl"])
    )
    print(
        json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": components}, indent=1)
    )


if __name__ == "__main__":
    main()
