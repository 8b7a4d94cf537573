"""Which files an image has, and which component of its SBOM each belongs to. Reads the archive of an image; nothing runs."""

from __future__ import annotations

import csv
import json
import posixpath
import re
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOME = "opt/kubesweep"
SBOM = f"{HOME}/sbom.cdx.json"
# Configuration and state, which packages make when they are installed, and what `venv` writes.
MADE = re.compile(
    r"(etc|dev|proc|sys|run|tmp|root|var/(lib|cache|log))/|usr/share/info/dir$"
    rf"|{HOME}/(pyvenv\.cfg|bin/(python\S*|[Aa]ctivate\S*)|sbom\.cdx\.json)$"
)
MERGED = re.compile(r"^(bin|sbin|lib|lib32|lib64|libx32)/")  # links to usr/ on Debian


@dataclass(frozen=True)
class File:
    mode: int
    size: int  # bytes
    regular: bool  # no link


@dataclass(frozen=True)
class Contents:
    """The files of an image after all its layers, by path without a leading slash."""

    files: dict[str, File]
    texts: dict[str, bytes]  # what the questions below need to read

    @property
    def sbom(self) -> set[str]:
        components: list[dict[str, Any]] = json.loads(self.texts[SBOM])["components"]
        return {component["purl"] for component in components}

    @property
    def set_id(self) -> set[str]:
        return {path for path, file in self.files.items() if file.mode & (stat.S_ISUID | stat.S_ISGID)}

    def bytes_below(self, folder: str) -> int:
        return sum(file.size for path, file in self.files.items() if path.startswith(f"{folder}/"))

    def programs(self, *names: str) -> set[str]:
        """The files in a folder for programs that have one of these names."""
        return {path for path in self.files if re.search(r"s?bin/[^/]+$", path) and posixpath.basename(path) in names}

    def unowned(self) -> set[str]:
        """Files that belong to no component of the SBOM: no Debian package, no Python package and not CPython."""
        owned = set(self._of_debian()) | set(self._of_python())
        cpython = re.compile(
            r"usr/local/(lib/(lib)?python3|bin/(python|idle|pydoc|2to3)|include/python|share/man|lib/pkgconfig)"
        )
        return {
            path
            for path, file in self.files.items()
            if file.regular and not (path in owned or MADE.match(path) or cpython.match(path) or path.endswith(".pyc"))
        }

    def _of_debian(self) -> Iterator[str]:
        for path, text in self.texts.items():
            if path.startswith("var/lib/dpkg/info/") and path.endswith(".list"):
                for line in text.decode().splitlines():
                    yield MERGED.sub(r"usr/\1/", line.strip("/"))
                    yield line.strip("/")

    def _of_python(self) -> Iterator[str]:
        for path, text in self.texts.items():
            if path.endswith(".dist-info/RECORD"):
                packages = posixpath.dirname(posixpath.dirname(path))
                for name, *_ in csv.reader(text.decode().splitlines()):
                    yield posixpath.normpath(posixpath.join(packages, name))


def contents(archive: Path) -> Contents:
    """Read all layers of a docker-archive, with their whiteouts (https://github.com/opencontainers/image-spec/blob/main/layer.md)."""
    files: dict[str, File] = {}
    texts: dict[str, bytes] = {}
    with tarfile.open(archive) as image:
        (manifest,) = json.loads(_read(image, "manifest.json"))
        for layer in manifest["Layers"]:
            with tarfile.open(fileobj=image.extractfile(layer), mode="r|*") as members:
                for each in members:
                    _add(files, texts, each, members)
    return Contents(files, texts)


def _add(files: dict[str, File], texts: dict[str, bytes], each: tarfile.TarInfo, layer: tarfile.TarFile) -> None:
    path = posixpath.normpath(each.name).lstrip("./")
    folder, name = posixpath.split(path)
    if name.startswith(".wh."):
        gone = posixpath.join(folder, name.removeprefix(".wh.")) if name != ".wh..wh..opq" else folder
        for known in [one for one in files if one == gone or one.startswith(f"{gone}/")]:
            del files[known]
            texts.pop(known, None)
    elif not each.isdir():
        files[path] = File(each.mode, each.size, each.isfile())
        if each.isfile() and (path.startswith("var/lib/dpkg/info/") or path.endswith("/RECORD") or path == SBOM):
            found = layer.extractfile(each)
            assert found is not None
            texts[path] = found.read()


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    found = archive.extractfile(name)
    assert found is not None
    return found.read()
