"""Files and functions stay small. CONTRIBUTING.md says about 300 and 40 lines; these limits leave some room."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]
FILE_LINES, FUNCTION_LINES = 310, 50


def python_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.splitlines() if (ROOT / name).exists()]


def test_no_file_and_no_function_is_too_long() -> None:
    files, long = python_files(), []
    assert len(files) > 500
    for file in files:
        text, name = file.read_text(encoding="utf-8"), file.relative_to(ROOT)
        if text.count("\n") > FILE_LINES:
            long.append(f"{name}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    long.append(f"{name}: {node.name} has {lines} lines")
    assert long == []
