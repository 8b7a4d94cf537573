"""Installs the Debian packages that the test bed needs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.cluster.testbed import BedError, step

# program: package
NEEDED = {
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "nft": "nftables",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "mmdebstrap": "mmdebstrap",
    "buildah": "buildah",
    "openssl": "openssl",
    "c++": "g++",  # compiles tests/soak/clock.c; gcc alone has no headers
    "prometheus": "prometheus",  # scrapes a release in tests/e2e/test_seeing.py
}
POLICY = Path("/usr/sbin/policy-rc.d")


def install() -> None:
    """Install missing packages. Meanwhile policy-rc.d keeps Debian from starting the services that they contain."""
    if os.geteuid() != 0:
        raise BedError("a cluster needs root: it makes namespaces, mounts and cgroups")
    if shutil.which("go") is None:
        raise BedError("go is not on the PATH: the cluster's programs are compiled from Go modules (Go 1.26 or newer)")
    missing = sorted({package for program, package in NEEDED.items() if shutil.which(program) is None})
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise BedError(f"install what Debian calls {' '.join(missing)}")
    created = not POLICY.exists()
    if created:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        with step(f"installed {' '.join(missing)}"):
            _apt("update")
            _apt("install", "-y", "--no-install-recommends", *missing)
    finally:
        if created:
            POLICY.unlink()


def _apt(*words: str) -> None:
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        ["apt-get", "-qq", *words], env=quiet, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BedError(f"apt-get {words[0]}: {done.stderr[-1000:]}")
