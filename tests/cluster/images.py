"""Builds the images of the test bed without Docker.

mmdebstrap makes the base image and Valkey's, and buildah the others: Debian packages on the base, compiled programs in empty images, and the product from its
Containerfile. Each image is an archive in the cache whose name has a hash of its inputs, so an unchanged image is not built again. A build mounts this
machine's pip settings, and none of them enters an image.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.testbed import CACHE, HERE, QUEUES, REPOSITORY, Bed, Node, paths, queue_image, run, step

FOLDER = CACHE / "images"
BASE = "docker.io/library/python:3.11-slim"
SUITE = "bookworm"
ROOTFS = (
    "--variant=apt",
    "--include=ca-certificates,python3,python3-venv",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
)
VALKEY = QUEUES["valkey"]
VALKEY_ROOTFS = (
    ROOTFS[0],
    "--include=valkey-server",
    *ROOTFS[2:],
    # the names that the chart calls, which Valkey's usual image has too
    '--customize-hook=cd "$1/usr/bin" && ln -s valkey-server redis-server && ln -s valkey-cli redis-cli',
)
ROOTFS_OF = {BASE: (SUITE, ROOTFS), VALKEY: ("trixie", VALKEY_ROOTFS)}  # Debian's first suite that has Valkey
LEFTOVERS = 200
KEPT = 4  # archives kept of each image: other working trees use this cache too
PRODUCT = "ghcr.io/kubesweep"
NEVER_INSIDE = re.compile(r"__pycache__|\.egg-info|\.pyc$")


@dataclass(frozen=True)
class Image:
    """``inputs`` are the files whose content requires a rebuild, ``arguments`` the build arguments of the Containerfile."""

    reference: str
    containerfile: Path
    target: str
    context: Path
    inputs: tuple[Path, ...]
    arguments: tuple[str, ...] = ()
    mounted: tuple[str, ...] = ()  # SOURCE:TARGET folders, mounted during the build

    @property
    def needs_base(self) -> bool:
        return f"BASE_IMAGE={BASE}" in self.arguments

    @property
    def archive(self) -> Path:
        digest = hashlib.sha256(repr((self.reference, self.target, self.arguments, SUITE, ROOTFS)).encode())
        for file in _files((self.containerfile, *self.inputs)):
            digest.update(
                str(file.relative_to(self.context) if file.is_relative_to(self.context) else file.name).encode()
            )
            digest.update(file.read_bytes())
        return FOLDER / f"{_label(self.reference)}-{digest.hexdigest()[:16]}.tar"


def platform() -> list[Image]:
    """What the cluster itself runs: without these no pod starts."""
    programs, own = paths(), HERE / "images"

    def program(name: str, reference: str, *arguments: str) -> Image:
        # the file's name has the version, so its hundred megabytes are not read
        path = programs[name]
        version = path.name.removeprefix(f"{name}-v")
        return Image(
            f"{reference}:{version}",
            own / "binary.Containerfile",
            "",
            path.parent,
            (),
            (f"BINARY={path.name}", *arguments),
        )

    return [
        program("pause", "localhost/pause"),
        program("coredns", "localhost/coredns"),
        program("keda-operator", "ghcr.io/kedacore/keda", "PATH_INSIDE=/keda"),
        program("keda-adapter", "ghcr.io/kedacore/keda-metrics-apiserver", "PATH_INSIDE=/keda-adapter"),
    ]


def servers() -> list[Image]:
    """The images of the servers that tests run in the cluster."""
    own, base = HERE / "images", f"BASE_IMAGE={BASE}"
    names = {"redis": QUEUES["redis"], "postgres": "docker.io/library/postgres:15"}
    made = [
        Image(reference, own / "debian.Containerfile", target, own, (), (base,)) for target, reference in names.items()
    ]
    if queue_image() == VALKEY:
        made.append(Image(VALKEY, own / "base.Containerfile", "", own, ()))
    return made


def product(source: Path = REPOSITORY, tag: str = "") -> list[Image]:
    """The project's images, built from a source tree. Without ``tag`` they have the references that its chart names."""
    version = tomllib.loads((source / "pyproject.toml").read_text())["project"]["version"]
    copied = [line[1:] for line in (source / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    inputs = tuple(source / name for name in copied)
    arguments = (f"BASE_IMAGE={BASE}", f"VERSION={version}")
    return [
        Image(f"{PRODUCT}/{name}:{tag or version}", source / "Containerfile", name, source, inputs, arguments)
        for name in ("controller", "worker")
    ]


def prepare(images: list[Image]) -> None:
    """Build the images that have changed."""
    with _locked():
        _archives(images)


def provide(bed: Bed, images: list[Image]) -> None:
    """Build the images that have changed, and import the missing ones into the containerd of each node."""
    with _locked():
        for reference, archive in _archives(images).items():
            for node in bed.nodes:
                _import(node, reference, archive)


@contextmanager
def _locked() -> Iterator[None]:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for rest in (*FOLDER.glob("*.partial"), *FOLDER.glob("rootfs-*")):  # left by a killed run
            shutil.rmtree(rest) if rest.is_dir() else rest.unlink()
        yield


def _archives(images: list[Image]) -> dict[str, Path]:
    """Build the images. Returns each archive by its reference, the base first."""
    base = {BASE: _rootfs(BASE)} if any(image.needs_base for image in images) else {}
    return base | {image.reference: _built(image) for image in images}


def _rootfs(reference: str) -> Path:
    """Build an image that is a Debian rootfs: the base with Python, in place of python:3.x-slim, or Valkey."""
    suite, options = ROOTFS_OF[reference]
    archive = FOLDER / f"{_label(reference)}-{hashlib.sha256(repr((suite, options)).encode()).hexdigest()[:16]}.tar"
    if archive.exists() and _buildah("images", "--quiet", "--filter", f"reference={reference}").strip():
        return archive
    with step(f"image {reference}"), tempfile.TemporaryDirectory(prefix="rootfs-", dir=FOLDER) as folder:
        run("mmdebstrap", "--quiet", *options, suite, Path(folder) / "rootfs.tar")
        _buildah("build", "--quiet", "--file", HERE / "images" / "base.Containerfile", "--tag", reference, folder)
        _save(reference, archive)
    return archive


def _built(image: Image) -> Path:
    if image.reference in ROOTFS_OF:
        return _rootfs(image.reference)
    archive = image.archive
    if archive.exists():
        archive.touch()
        return archive
    words = [f"--build-arg={argument}" for argument in image.arguments]
    words += [f"--volume={folder}:ro" for folder in image.mounted]
    if image.target:
        words.append(f"--target={image.target}")
    # A layer's cache key does not include mounted files, so a stale layer could be reused.
    words.append("--no-cache" if image.mounted else "--layers")
    with step(f"image {image.reference}"), _index_settings() as mounted:
        _buildah("build", "--quiet", "--isolation", "chroot", "--pull-never", *mounted, *words,
                 "--file", image.containerfile, "--tag", image.reference, image.context)  # fmt: skip
        _save(image.reference, archive)
        _prune_layers()
    return archive


def _prune_layers() -> None:
    """Delete the cached layers once there are many. They speed builds up, but each edit adds some."""
    if len(_buildah("images", "--quiet", "--filter", "dangling=true").split()) > LEFTOVERS:
        _buildah("rmi", "--prune")


def _save(reference: str, archive: Path) -> None:
    partial = archive.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    _buildah("push", "--quiet", reference, f"docker-archive:{partial}:{reference}")
    partial.rename(archive)
    archives = FOLDER.glob(f"{_label(reference)}-{'[0-9a-f]' * 16}.tar")
    for old in sorted(archives, key=lambda each: each.stat().st_mtime)[:-KEPT]:
        old.unlink()


def _import(node: Node, reference: str, archive: Path) -> None:
    imported = node.folder / "images" / _label(reference)
    if imported.exists() and imported.read_text() == archive.name:
        return
    with step(f"imported {reference} on {node.name}"):
        run("ctr", "--address", node.containerd, "--namespace", "k8s.io", "images", "import", archive)
    imported.parent.mkdir(exist_ok=True)
    imported.write_text(archive.name)


def _buildah(*words: str | Path) -> str:
    """Run buildah in a mount namespace of its own, because it leaves its storage mounted."""
    storage = [
        "--root",
        str(FOLDER / "storage"),
        "--runroot",
        str(FOLDER / "storage-run"),
        "--storage-driver",
        "overlay",
    ]
    return run("unshare", "--mount", "buildah", *storage, *words)


@contextmanager
def _index_settings() -> Iterator[list[str]]:
    """Mounts for a build: a pip.conf with this machine's index settings, and its certificate authorities."""
    listed = run(sys.executable, "-m", "pip", "config", "list")
    found = dict(re.findall(r"^(?:global|:env:)\.([\w.-]+)='(.*)'$", listed, re.MULTILINE))
    kept = {name.lstrip("."): value for name, value in found.items()}
    lines = [
        f"{name} = {kept[name]}" for name in ("index-url", "extra-index-url", "trusted-host", "timeout") if name in kept
    ]
    mounted = list[str]()
    if authorities := kept.get("cert"):
        lines.append(f"cert = {authorities}")
        mounted += ["--volume", f"{authorities}:{authorities}:ro"]
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "pip.conf"
        settings.write_text("\n".join(["[global]", *lines, ""]))
        yield [*mounted, "--volume", f"{settings}:/etc/pip.conf:ro"]


def _label(reference: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", reference)


def _files(paths: tuple[Path, ...]) -> Iterator[Path]:
    for path in paths:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (file for file in inside if file.is_file() and not NEVER_INSIDE.search(str(file)))
