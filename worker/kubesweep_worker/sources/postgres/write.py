"""Write to PostgreSQL, and detect rows that a write leaves unchanged without an error.

A policy, a BEFORE trigger, or an AFTER trigger that reverts the write leaves no trace but a smaller number of rows, or none
at all. So a write that changes fewer rows than its scope should have queries, in the same transaction, which rows still
match. Rows that match after a second try are refused: everything is rolled back and written again without them.
"""

from __future__ import annotations

from dataclasses import dataclass

from kubesweep.api.plan import Plan
from kubesweep.errors import Outage, RowError, SweepFailure
from kubesweep.queue.model import Key
from kubesweep_worker.sources.base import WRITE_REFUSED, Keys, Predicate, Scope, refusal, unkept
from kubesweep_worker.sources.conditions import quote_name
from kubesweep_worker.sources.postgres.checks.catalog import Relation, sql
from kubesweep_worker.sources.postgres.pool import Rows, Transaction
from kubesweep_worker.sources.postgres.sqlstates import NO_IDENTITY
from kubesweep_worker.sources.postgres.statements import Statements

UNDEFERRED = "SET CONSTRAINTS ALL IMMEDIATE"  # otherwise deferred triggers could revert the write after the query
COMMANDS = {"INSERT": (4, "a"), "UPDATE": (16, "w"), "DELETE": (8, "d")}  # bit of pg_trigger.tgtype, pg_policy.polcmd


class ArchiveMiscount(Exception):
    """The archive stored fewer rows than were deleted: a trigger drops them, or inserts them into a child table."""


class TableAltered(Outage):
    """The columns changed since the statements were built."""

    def __init__(self) -> None:
        super().__init__("TableChanged", "the table or its archive was altered repeatedly")


@dataclass(frozen=True, slots=True)
class WriteBlockers:
    """What the catalog has that can block the plan's write to single rows. ``why``: the message for a row that is refused."""

    before: tuple[str, ...] = ()  # triggers that may drop a row
    after: tuple[str, ...] = ()  # triggers that may revert a write
    lockable: bool = True
    why: str = ""
    shape: str = ""  # of the table and its archive, see Statements.shape
    unkept: str = ""  # the message for a row that the archive did not store


@dataclass(frozen=True, slots=True)
class WriteOutcome:
    """The outcome of one write before its COMMIT. Where rows are ``unchanged``, it must not be committed: they still match."""

    applied: int
    again: int = 0  # rows that match again after an update
    unchanged: tuple[Key, ...] = ()

    def never_ends(self, blockers: WriteBlockers) -> bool:
        """Whether the write itself leaves its rows matching: all of them do, and no trigger can be the cause."""
        triggers = blockers.before or blockers.after
        return self.again > 0 and (not self.unchanged or (self.again == self.applied and not triggers))


async def read_write_blockers(
    tx: Transaction, plan: Plan, statements: Statements, relation: Relation, archive: Relation | None
) -> WriteBlockers:
    """Raises SweepFailure where the catalog proves that no row can be written."""
    if plan.write is None or plan.dry_run:
        return WriteBlockers(lockable=relation.lockable)
    command = "DELETE" if plan.write.deletes else "UPDATE"
    found: dict[str, list[str]] = {}
    for kind, name in await tx.query(sql("write_blockers"), relation.oid, *COMMANDS[command]):
        found.setdefault(str(kind), []).append(str(name))
    check_write_blockers(relation, command, found)
    check_identity(command, await tx.query(sql("identity"), relation.oid, command == "DELETE"))
    before, after = tuple(found.get("before", ())), tuple(found.get("after", ()))
    lockable = relation.lockable and (not relation.row_security or "lock" in found)
    causes = [f'trigger "{name}"' for name in dict.fromkeys((*before, *after))]
    if relation.row_security:
        causes.append(f"a policy of row-level security that hides the row from {command}")
    why = refusal(relation.quoted, causes)
    if archive is None:
        return WriteBlockers(before, after, lockable, why)
    [[(shape,)]] = await tx.run(statements.shape())
    return WriteBlockers(before, after, lockable, why, str(shape), unkept(archive.quoted, await _dropping(tx, archive)))


async def _dropping(tx: Transaction, archive: Relation) -> tuple[str, ...]:
    """Descriptions of the archive's triggers that may drop a row. Raises SweepFailure where a rule rewrites the INSERT."""
    found = await tx.query(sql("write_blockers"), archive.oid, *COMMANDS["INSERT"])
    for kind, name in found:
        if kind == "rule":
            raise SweepFailure(
                WRITE_REFUSED,
                f"rule {quote_name(str(name))} rewrites what is inserted into the archive {archive.quoted}, so a sweep cannot verify what it stores: "
                f"DROP RULE {quote_name(str(name))} ON {archive.quoted}, and put what it does into a trigger",
            )
    return tuple(f'trigger "{name}" of {archive.quoted}' for kind, name in found if kind in ("before", "instead"))


def check_write_blockers(relation: Relation, command: str, found: dict[str, list[str]]) -> None:
    """Raises SweepFailure where a rule rewrites the command, or no policy permits it."""
    for name in found.get("rule", ()):
        raise SweepFailure(
            WRITE_REFUSED,
            f"rule {quote_name(name)} rewrites every {command} of {relation.quoted}, so a sweep cannot write its rows: "
            f"DROP RULE {quote_name(name)} ON {relation.quoted}, and put what it does into a trigger",
        )
    if relation.row_security and "policy" not in found:
        role = quote_name(relation.role)
        raise SweepFailure(
            WRITE_REFUSED,
            f"row-level security of {relation.quoted} has no policy that lets role {role} {command.lower()} rows, so they would stay as "
            f"they are: CREATE POLICY kubesweep ON {relation.quoted} FOR {command} TO {role} USING (true), or use a role with BYPASSRLS",
        )


def check_identity(command: str, missing: Rows) -> None:
    """``missing``: the statements that give a replica identity to each published table without one."""
    if missing:
        raise SweepFailure(
            NO_IDENTITY,
            f"a publication replicates every {command} of this table, and its rows have no replica identity, so the database "
            f"refuses the write: {'; '.join(str(statement) for (statement,) in missing[:5])}",
        )


async def apply(
    tx: Transaction,
    statements: Statements,
    blockers: WriteBlockers,
    scope: Scope,
    predicate: Predicate,
    *,
    counted: bool = False,
) -> WriteOutcome:
    """One write without COMMIT; one statement where no trigger or policy can block it.

    ``counted``: count the archive's rows before and after. Raises TableAltered, ArchiveMiscount, and RowError where the archive
    does not store a row.
    """
    before = 0
    if counted:
        [found] = await tx.run(statements.keys(scope, predicate))
        if not found:
            return WriteOutcome(0)
        scope, predicate = Keys(tuple(found)), Predicate(predicate.cutoff)
        [[(before,)]] = await tx.run(statements.copies(scope.keys))
    sent = await _send(tx, statements, blockers, scope, predicate)
    unchanged = sent.unchanged
    if unchanged is None and (sent.again or sent.applied < scope.expected):
        [unchanged] = await tx.run(statements.keys(scope, predicate))
    if unchanged and not sent.again:
        # Some rows may have turned stale after the write: the second try includes them.
        rest = Keys(tuple(unchanged))
        second = await _resend(tx, statements, rest, Predicate(predicate.cutoff))
        unchanged = second.unchanged
        sent = _Sent(sent.applied + second.applied, sent.kept + second.kept, second.again, unchanged)
    if sent.kept < sent.applied:
        if statements.copied and not counted:
            raise ArchiveMiscount
        after = before
        if counted and isinstance(scope, Keys):
            [[(after,)]] = await tx.run(statements.copies(scope.keys))
        if int(after) - before < sent.applied:
            raise RowError(WRITE_REFUSED, blockers.unkept)
    return WriteOutcome(sent.applied, sent.again, tuple(unchanged or ()))


@dataclass(frozen=True, slots=True)
class _Sent:
    """The result of one statement that writes."""

    applied: int
    kept: int  # rows that the archive stored; ``applied`` without an archive
    again: int  # rows that match again after an update
    unchanged: list[Key] | None  # rows that still match; None where they were not queried


async def _send(
    tx: Transaction, statements: Statements, blockers: WriteBlockers, scope: Scope, predicate: Predicate
) -> _Sent:
    write = statements.write(scope, predicate)
    # EXPLAIN takes the locks of the write, so that the tables cannot be altered between reading their columns and the write.
    guard = (f"EXPLAIN {write}", statements.shape()) if blockers.shape else ()
    still_matching = (UNDEFERRED, statements.keys(scope, predicate)) if blockers.after else ()
    answers = await tx.run(*guard, write, *still_matching)
    if guard and answers[1] != [(blockers.shape,)]:
        raise TableAltered
    return _sent(statements, answers[len(guard)], answers[-1] if blockers.after else None)


async def _resend(tx: Transaction, statements: Statements, rest: Keys, predicate: Predicate) -> _Sent:
    written, _, unchanged = await tx.run(
        statements.write(rest, predicate), UNDEFERRED, statements.keys(rest, predicate)
    )
    return _sent(statements, written, unchanged)


def _sent(statements: Statements, written: Rows, unchanged: list[Key] | None) -> _Sent:
    """See ``Statements.write``: the second number counts archived rows where there is an archive."""
    [(applied, other)] = written
    if statements.archive is not None:
        return _Sent(int(applied), int(other), 0, unchanged)
    return _Sent(int(applied), int(applied), int(other), unchanged)


async def lock_rows(
    tx: Transaction, statements: Statements, scope: Scope, predicate: Predicate
) -> tuple[Keys, tuple[Key, ...]]:
    """Lock the rows that no other transaction has locked. All keys are listed first: a row that another transaction releases in
    between is reported as locked, and found no longer stale later, so none is lost."""
    every, got = await tx.run(statements.keys(scope, predicate), statements.lock(scope, predicate))
    locked_here = dict.fromkeys(got)
    return Keys(tuple(locked_here)), tuple(key for key in every if key not in locked_here)
