"""Build the documentation site from the Markdown that lies in the repository: ``make site`` -> ``.build/site``.

Zensical wants all pages below one folder, ours lie beside what they describe. So every committed page and every file that
one links to is laid out once more under ``.build/pages``, in the same tree: the links stay as they are, and the
build, being strict, fails on one that leads nowhere. A folder that is linked as a whole gets a page that lists its pages.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

HOUSE = Path(__file__).parents[2]
PAGES = HOUSE / ".build" / "pages"
LINK = re.compile(r"\]\(([^)\s#]+)")


def committed_pages() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "*.md"],
        cwd=HOUSE,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [Path(name) for name in listed.split("\0") if name and (HOUSE / name).is_file()]


def linked_files(page: Path) -> set[Path]:
    """The files that a page links to and that are no pages. A folder counts for its README."""
    found = set()
    for target in LINK.findall((HOUSE / page).read_text()):
        file = (HOUSE / page.parent / target).resolve()
        if file.is_file() and file.suffix != ".md" and file.is_relative_to(HOUSE):
            found.add(file.relative_to(HOUSE))
    return found


def write_indexes() -> None:
    for folder in {page.parent for page in PAGES.rglob("*.md")}:
        index = folder / "README.md"
        if not index.exists():
            titles = {
                page.name: page.read_text().partition("\n")[0].lstrip("# ") for page in sorted(folder.glob("*.md"))
            }
            index.write_text(
                "\n".join(["# All pages", "", *(f"- [{title}]({name})" for name, title in titles.items()), ""])
            )


def with_index_links(text: str) -> str:
    """``adr/`` leads to a listing on a forge; on the site it is a page."""
    return re.sub(r"\]\(([^):#\s]*)/\)", r"](\1/README.md)", text)


def lay_out() -> None:
    shutil.rmtree(PAGES, ignore_errors=True)
    pages = committed_pages()
    for page in pages:
        target = PAGES / page
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(with_index_links((HOUSE / page).read_text()))
    for file in set().union(*map(linked_files, pages)):
        target = PAGES / (f"{file}.txt" if file.name == "LICENSE" else file)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(HOUSE / file, target)
    write_indexes()


def main() -> int:
    lay_out()
    return subprocess.run(
        [Path(sys.executable).with_name("zensical"), "build", "--strict"], cwd=HOUSE, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
