"""The parser of runnable documents. A parsing error would make a test that cannot fail."""

from __future__ import annotations

import pytest

from tests.kits.documents import Command, File, difference, steps

PAGE = """# Try it

<!-- file: sweep.yaml -->
```yaml
kind: SweepSchedule
```

```console
$ this is not run
```

<!-- run -->
```console
$ kubectl apply \\
    -f sweep.yaml
sweepschedule.kubesweep.dev/idle created
$ cat <<END
> hello
> END
hello
$ true
```
"""


def test_marked_blocks_become_files_and_commands_in_order() -> None:
    assert list(steps(PAGE)) == [
        File(5, "sweep.yaml", "kind: SweepSchedule\n"),
        Command(14, "kubectl apply \\\n    -f sweep.yaml", "sweepschedule.kubesweep.dev/idle created"),
        Command(17, "cat <<END\nhello\nEND", "hello"),
        Command(21, "true", ""),
    ]


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        ("<!-- run -->\n\n```console\n$ true\n```\n", "no fenced block after it"),
        ("<!-- run -->\n```sh\ntrue\n```\n", "wants a console block, not sh"),
        ("<!-- run -->\n```console\ntrue\n```\n", "begins with a command"),
    ],
)
def test_a_mark_that_would_run_nothing_is_an_error(page: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        list(steps(page))


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("NAME   AGE\nidle   12s", "NAME AGE\nidle 1m3s\n"),
        ("pod/idle-worker-6d4cf56db6-x7k2p", "pod/idle-worker-7b9df66c5f-aaaaa"),
        ("at 2026-11-24T10:00:00Z from 10.0.0.1", "at 2026-11-25T11:10:09.123456Z from 10.244.0.7"),
        ("first\n...\nlast", "first\nsecond\nthird\nlast"),
        ("first\n...\nlast", "first\nlast"),
        ("swept ... rows", "swept 17 rows"),
        ("", "\n"),
    ],
)
def test_output_that_differs_in_every_run_matches(shown: str, printed: str) -> None:
    assert difference(shown, printed) is None


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("applied 199,993", "applied 199,992"),
        ("idle True", "idle False"),
        ("one line", "one line\nand another"),
        ("something", ""),
        ("", "something"),
        ("idle 12s", "idle <unknown>"),
        ("*/5 * * * *", "*/6 * * * *"),
    ],
)
def test_different_output_does_not_match(shown: str, printed: str) -> None:
    assert difference(shown, printed) is not None
