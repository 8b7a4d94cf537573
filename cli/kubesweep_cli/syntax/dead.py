"""The sub-commands of ``kubesweep dead``, as typer reads them; :mod:`kubesweep_cli.commands.dead_letters` implements them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from kubesweep_cli.shell.current_terminal import current_terminal
from kubesweep_cli.shell.options import All, Error, Keys, Name, Namespace, Output, Queue, Retrying, Yes
from kubesweep_cli.syntax.group import CommandGroup

if TYPE_CHECKING:
    from kubesweep.queue.service import QueueService
    from kubesweep_cli.commands.dead_letters import Choice

__all__ = ["app"]

T = TypeVar("T")
LIMIT = "Show at most this many of each schedule."

app = typer.Typer(
    help="List and retry the rows that used up their attempts, grouped by error.",
    no_args_is_help=True,
    cls=CommandGroup,
)


def _with_queue(choice: Choice, work: Callable[[QueueService], Coroutine[Any, Any, T]]) -> T:
    """The result of ``work`` on the queue of ``choice``."""

    async def connected() -> T:
        from kubesweep_cli.shell.open_queue import open_queue

        async with open_queue(choice.queue) as queue:
            return await work(queue)

    from kubesweep_worker.runtime.event_loop import run

    return run(connected())


def _choice(queue: str | None, name: str | None, namespace: str | None, error: str | None, **more: Any) -> Choice:
    from kubesweep_cli.commands.dead_letters import Choice
    from kubesweep_cli.shell.output import check_output
    from kubesweep_cli.shell.state_paths import queue_url

    check_output(more.get("output", "table"))
    return Choice(queue=queue_url(queue), option=queue, name=name, namespace=namespace, error=error, **more)


@app.command("list")
def dead_list(
    name: Name = None,
    namespace: Namespace = None,
    queue: Queue = None,
    error: Error = None,
    retrying: Retrying = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help=LIMIT)] = 20,
    output: Output = "table",
) -> None:
    """List the dead letters of one schedule or of all, grouped by error."""
    from kubesweep_cli.commands import dead_letters

    choice, terminal = _choice(queue, name, namespace, error, retrying=retrying, output=output), current_terminal()
    raise typer.Exit(_with_queue(choice, lambda service: dead_letters.dead_list(service, terminal, choice, limit)))


@app.command("show")
def dead_show(
    name: Name = None,
    namespace: Namespace = None,
    queue: Queue = None,
    error: Error = None,
    key: Keys = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help=LIMIT)] = 100,
    retrying: Retrying = False,
    output: Output = "table",
) -> None:
    """Show each dead letter with the history of its attempts."""
    from kubesweep_cli.commands import dead_letters

    choice = _choice(queue, name, namespace, error, keys=tuple(key or ()), retrying=retrying, output=output)
    terminal = current_terminal()
    raise typer.Exit(_with_queue(choice, lambda service: dead_letters.dead_show(service, terminal, choice, limit)))


@app.command("retry")
def dead_retry(
    name: Name = None,
    namespace: Namespace = None,
    queue: Queue = None,
    error: Error = None,
    key: Keys = None,
    all_: All = False,
    output: Output = "table",
) -> None:
    """Try dead letters and rows in retry again now, with the same idempotency keys."""
    from kubesweep_cli.commands import dead_letters

    choice = _choice(queue, name, namespace, error, keys=tuple(key or ()), all=all_, output=output)
    terminal = current_terminal()
    raise typer.Exit(_with_queue(choice, lambda service: dead_letters.dead_retry(service, terminal, choice)))


@app.command("purge")
def dead_purge(
    name: Name = None,
    namespace: Namespace = None,
    queue: Queue = None,
    error: Error = None,
    key: Keys = None,
    all_: All = False,
    output: Output = "table",
    yes: Yes = False,
) -> None:
    """Remove dead letters and rows in retry from the queue: the next sweep finds the rows again."""
    from kubesweep_cli.commands import dead_letters

    choice = _choice(queue, name, namespace, error, keys=tuple(key or ()), all=all_, output=output)
    terminal = current_terminal()
    # Ask outside the event loop, which would delay Ctrl-C until the answer.
    total = _with_queue(choice, lambda service: dead_letters.count_purge(service, choice))
    if not terminal.confirms(dead_letters.purge_question(choice, total), yes=yes):
        raise typer.Exit(1)
    raise typer.Exit(_with_queue(choice, lambda service: dead_letters.dead_purge(service, terminal, choice)))
