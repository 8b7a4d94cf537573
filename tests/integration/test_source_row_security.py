"""Row-level security: which rows a write may change, and what is reported."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest

from kubesweep.api.plan import Match, Plan
from kubesweep.errors import RowError, SweepFailure
from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import InspectableSource, Predicate
from tests.integration.postgres import Server
from tests.integration.postgres_plans import make_plan
from tests.integration.refusing_tables import (
    ALL,
    DELETE,
    POLICY,
    TABLE,
    Connection,
    assert_refusals_reported,
)


@pytest.fixture
async def app(database: str) -> AsyncIterator[Connection]:
    """The application whose table is swept."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as opened:
        await opened.execute(TABLE)
        yield opened


async def source_of_role(app: Connection, postgres_server: Server, role: str, *, deletes: str) -> InspectableSource:
    """A source that deletes as a new role, whose policy lets it see every row and delete those that meet ``deletes``."""
    await app.execute(
        f'CREATE ROLE "{role}" LOGIN; GRANT SELECT, UPDATE, DELETE ON things TO "{role}"; '
        "ALTER TABLE things ENABLE ROW LEVEL SECURITY; CREATE POLICY seen ON things FOR SELECT USING (true);"
        f"CREATE POLICY gone ON things FOR DELETE USING ({deletes})".encode()
    )
    return open_source(make_plan(write=DELETE), lambda: postgres_server.url(app.info.dbname, user=role))


async def test_a_policy_that_hides_a_row_from_the_command_refuses_it(
    database: str, app: Connection, postgres_server: Server
) -> None:
    role = f"deletes {app.info.dbname}"
    source = await source_of_role(app, postgres_server, role, deletes="id % 5 <> 3")
    await assert_refusals_reported(source, await source.now(), "row-level security that hides the row from DELETE")
    await app.execute(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"'.encode())


async def test_a_policy_without_update_does_not_make_deletable_rows_look_locked(
    database: str, app: Connection, postgres_server: Server
) -> None:
    role = f"deletes {app.info.dbname}"
    source = await source_of_role(app, postgres_server, role, deletes="true")
    written = await source.write(ALL, Predicate(await source.now()), skip_locked=True)
    assert (written.applied, written.locked) == (10, ())
    await source.close()
    await app.execute(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"'.encode())


async def test_a_policy_with_check_alone_does_not_matter_to_a_dry_run(
    database: str, app: Connection, postgres_server: Server
) -> None:
    role = f"looks {app.info.dbname}"
    await app.execute(f'CREATE ROLE "{role}" LOGIN; GRANT SELECT ON things TO "{role}"; {POLICY}'.encode())
    plan: Plan = make_plan(mode="DryRun", match=(Match("in", "status", ("pending",)),))
    source = open_source(plan, lambda: postgres_server.url(app.info.dbname, user=role))
    assert await source.count(Predicate(await source.now()), 100) == 10
    await source.close()
    await app.execute(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"'.encode())


async def test_with_check_of_row_level_security_refuses_its_row(
    database: str, app: Connection, postgres_server: Server
) -> None:
    role = f"updates {app.info.dbname}"
    await app.execute(
        f'CREATE ROLE "{role}" LOGIN; GRANT SELECT, UPDATE ON things TO "{role}"; '
        "ALTER TABLE things ENABLE ROW LEVEL SECURITY; "
        "CREATE POLICY all_but_three ON things USING (true) WITH CHECK (id <> 3)".encode()
    )
    source = open_source(make_plan(), lambda: postgres_server.url(app.info.dbname, user=role))
    cutoff = await source.now()
    with pytest.raises(RowError, match="row-level security") as found:
        await source.write(ALL, Predicate(cutoff))
    assert found.value.error == "InsufficientPrivilege"
    assert (await source.write(ALL, Predicate(cutoff, frozenset([("3",)])))).applied == 9
    await app.execute(f'REVOKE UPDATE ON things FROM "{role}"'.encode())
    with pytest.raises(SweepFailure) as denied:
        await source.write(ALL, Predicate(cutoff))
    assert denied.value.reason == "PermissionDenied"
    await source.close()
    await app.execute(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"'.encode())
