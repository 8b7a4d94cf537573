"""Reads YAML as kubectl does, with the line and column of every key and value.

Stricter than YAML: duplicate keys, keys that are no strings, and merge keys are refused. Dates and values like 1:30 stay text,
as in the API server. Anchors work, but the number of values that they expand to is limited.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import yaml

from kubesweep.api.problems import Path, Problem, path_text

MAX_CHARACTERS = 1_000_000
MAX_NODES = 50_000
MAX_DEPTH = 64
_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"

# The parser quotes the text at an error, which may be a part of a password. Its own tokens look like <stream end>.
_CRON = re.compile(r"(?:^|[\s{,])schedule: +([*@%](?:[-*/?@%\w ]|,(?! ))*)")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


class _Loader(yaml.SafeLoader):
    """SafeLoader that keeps dates as text, and reads numbers and booleans as kubectl does. It stops at ``MAX_DEPTH``, because the
    time for a flow collection in one line grows with the square of its depth."""

    bool_values: ClassVar = {**yaml.SafeLoader.bool_values, "y": True, "n": False}

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self._depth > MAX_DEPTH:
            raise _TooLarge(_TOO_DEEP, self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        self._depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


_Loader.yaml_implicit_resolvers = {
    first: [(tag, shape) for tag, shape in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^[yYnN]$"), list("yYnN"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?0o[0-7]+$"), list("-+0"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?([0-9]+[eE][-+]?[0-9]+|0[0-9]+)$"), list("-+0123456789")
)


@dataclass
class Document:
    """One document as plain data, with its nodes to find lines and columns."""

    file: str
    node: yaml.Node
    data: Any = None
    problems: list[Problem] = field(default_factory=list)

    @property
    def line(self) -> int:
        return int(self.node.start_mark.line) + 1

    def place(self, path: Path, *, key: bool = False) -> tuple[int, int]:
        """Line and column (from 1) of the value at ``path`` or of its key. If it is absent, those of what encloses it."""
        node, mark = self.node, self.node.start_mark
        for index, step in enumerate(path):
            found = _child(node, step)
            if found is None:
                break
            key_node, node = found
            last = index == len(path) - 1
            mark = key_node.start_mark if key or not last or not isinstance(node, yaml.ScalarNode) else node.start_mark
        return mark.line + 1, mark.column + 1

    def written(self, path: Path) -> str | None:
        """The text of the scalar at ``path`` in the file: ``yes`` where the data has True."""
        node: yaml.Node | None = self.node
        for step in path:
            found = _child(node, step) if node else None
            node = found[1] if found else None
        return node.value if isinstance(node, yaml.ScalarNode) else None

    def problem(self, code: str, text: str, path: Path = (), *, key: bool = False, **more: Any) -> Problem:
        line, column = self.place(path, key=key)
        return Problem(code, text, self.file, line, column, path_text(path), **more)


def _child(node: yaml.Node, step: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step]
    return None


def read(text: str, file: str) -> Iterator[Document | Problem]:
    """The documents of a text, then a problem if the text cannot be read to its end."""
    if len(text) > MAX_CHARACTERS:
        yield Problem("FileTooLarge", f"has {len(text)} characters; at most {MAX_CHARACTERS} are read", file)
        return
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        try:
            while loader.check_node() and (node := loader.get_node()) is not None:
                document = Document(file, node)
                document.data = _Builder(loader, document).build(node, (), ())
                yield document
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        yield Problem("BadYaml", f"the character U+{ord(text[error.position]):04X} is not allowed in YAML", file, line)
    except yaml.MarkedYAMLError as error:
        yield _syntax_problem(error, file, text)
    except ValueError:  # of PyYAML: an escape that is no character, or a version that is too long
        yield Problem("BadYaml", "not YAML: a number or an escape is too large", file, loader.line + 1 if loader else 0)
    except _TooLarge as error:
        yield Problem("TooMuchYaml", str(error), file, error.line)


def _syntax_problem(error: yaml.MarkedYAMLError, file: str, source: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    text = error.problem or error.context or "cannot be read"
    if mark and (cron := _unquoted_cron(source, mark.line)):
        text = f'a cron expression needs quotes: schedule: "{cron}"'
        return Problem("BadYaml", f"not YAML: {text}", file, mark.line + 1, mark.column + 1)
    if "'\\t'" in text:
        text = "a tab: YAML is indented with blanks"
    elif "undefined alias" in text:
        text = "an alias without its anchor: text that begins with * needs quotes"
    elif error.context and error.problem:
        text = f"{text} ({error.context})"
    text = _QUOTED.sub(_without_content, text)
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    return Problem("BadYaml", f"not YAML: {text}", file, line, column)


def _unquoted_cron(source: str, line: int) -> str:
    """The cron expression on this line, where it begins with a character that YAML reads as something else; else an empty text."""
    lines = source.splitlines()
    found = _CRON.search(lines[line]) if line < len(lines) else None
    return found.group(1).rstrip() if found else ""


def _without_content(quoted: re.Match[str]) -> str:
    text = quoted.group()
    return text if len(text) <= len("','") or text[1] == "<" else "..."


class _TooLarge(Exception):
    def __init__(self, text: str, mark: yaml.Mark) -> None:
        super().__init__(text)
        self.line: int = mark.line + 1


class _Builder:
    """Builds the data of one document from its nodes, and appends what is refused to the document's problems."""

    def __init__(self, loader: _Loader, document: Document) -> None:
        self.loader = loader
        self.document = document
        self.nodes = 0

    def build(self, node: yaml.Node, path: Path, above: tuple[int, ...]) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise _TooLarge(f"the document unfolds to more than {MAX_NODES} values", node.start_mark)
        if len(above) > MAX_DEPTH or id(node) in above:
            raise _TooLarge(f"{_TOO_DEEP}, or an anchor that contains itself", node.start_mark)
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return self._map(node, path, (*above, id(node)))
        if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            inner = (*above, id(node))
            return [self.build(each, (*path, index), inner) for index, each in enumerate(node.value)]
        return self._scalar(node, path)

    def _map(self, node: yaml.MappingNode, path: Path, above: tuple[int, ...]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key_node, value_node in node.value:
            name = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key_node.tag == "tag:yaml.org,2002:merge":
                self._refuse(key_node, "MergeKey", "the merge key << is refused: write the fields out", path)
            elif name is None or key_node.tag != "tag:yaml.org,2002:str":
                text = f"the key {name} is not text: put it into quotes" if name else "a key must be text"
                self._refuse(key_node, "BadKey", text, path)
            elif name in made:
                self._refuse(key_node, "DuplicateKey", "given twice: remove one", (*path, name))
            else:
                made[name] = self.build(value_node, (*path, name), above)
        return made

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if isinstance(node, yaml.ScalarNode) and kind in ("str", "int", "float", "bool", "null"):
            if kind == "str" or (kind in ("int", "float") and ":" in node.value):
                return node.value
            try:
                return self.loader.construct_object(node)
            except (ValueError, KeyError, OverflowError):
                self._refuse(node, "BadYaml", f"a YAML {kind} that cannot be read: put text into quotes", path)
                return None
        self._refuse(node, "BadYaml", "a YAML tag cannot be used here: text that begins with ! needs quotes", path)
        return None

    def _refuse(self, node: yaml.Node, code: str, text: str, path: Path) -> None:
        mark = node.start_mark
        self.document.problems.append(
            Problem(code, text, self.document.file, mark.line + 1, mark.column + 1, path_text(path))
        )
