"""The bundled queue's password: written to its Secret once, kept if another tool wrote it, used before the kubelet shows it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from kubesweep.errors import Outage
from kubesweep.queue.redis.connections import parse
from kubesweep_controller.kube.client import ApiOutage, Kind, Refused
from kubesweep_controller.queue.password import RETRY_SECONDS, QueuePassword
from kubesweep_controller.settings import Settings, from_environment
from tests.kits.controller import Recorder

Start = Callable[[Settings, "Server"], QueuePassword]


class Server(Recorder):
    """One Secret, with the part of server-side apply that matters here: the owner of ``data.password``, and conflicts."""

    def __init__(self) -> None:
        super().__init__()
        self.password, self.owners = "", set[str]()
        self.applied = 0
        self.outage_seconds = False

    async def apply(
        self, kind: Kind, body: Mapping[str, Any], manager: str = "", *, force: bool = True
    ) -> dict[str, Any]:
        assert not force
        assert (kind.kind, body["metadata"]) == ("Secret", {"name": "ks-kubesweep-redis", "namespace": "kubesweep"})
        self.applied += 1
        if self.outage_seconds:
            raise ApiOutage("ApiUnreachable", "no route")
        given = base64.b64decode(body["data"]["password"]).decode()
        if self.owners - {manager} and given != self.password:
            raise Refused(409, "Conflict", f"conflicts with {self.owners}")
        self.password = given
        self.owners |= {manager}
        return {}

    def patch_by_hand(self, password: str) -> None:
        self.password, self.owners = password, {"kubectl-patch"}

    def empty(self) -> None:
        self.password, self.owners = "", set()


def settings(mounted: Path, secret: str = "ks-kubesweep-redis") -> Settings:
    return from_environment(
        {
            "KUBESWEEP_QUEUE": f"redis://default@redis.kubesweep.svc:6379/0?password_file={mounted}",
            "KUBESWEEP_QUEUE_SECRET": secret,
            "KUBESWEEP_WORKER_IMAGE": "worker:1",
            "POD_NAMESPACE": "kubesweep",
            "POD_NAME": "kubesweep-0",
        }
    )


def show(mounted: Path, password: str) -> None:
    """Update the mounted file, as the kubelet does."""
    mounted.write_text(password)


def credentials(of: QueuePassword) -> Any:
    """The password of a new connection to the queue."""
    return parse(of.settings.queue_url).options["credential_provider"].get_credentials()


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    return tmp_path / "password"


@pytest.fixture
def start() -> Iterator[Start]:
    """Start controllers, each with its own files."""
    started: list[QueuePassword] = []

    def begin(given: Settings, client: Server) -> QueuePassword:
        started.append(QueuePassword.of(given, client))
        return started[-1]

    yield begin
    for each in started:
        each.close()


async def test_the_first_leader_makes_a_password_and_logs_in_with_it_before_the_kubelet_shows_it(
    start: Start, mounted: Path
) -> None:
    client = Server()
    password = start(settings(mounted), client)
    with pytest.raises(Outage):
        password.settings.queue.password()  # an empty password is never used
    await password.check(0)
    assert len(client.password) >= 40
    assert credentials(password) == ("default", client.password)
    assert password.settings.queue.password() == client.password
    assert password.temporary_file is not None
    assert password.temporary_file.stat().st_mode & 0o777 == 0o600
    assert client.password not in repr(password)
    show(mounted, client.password)
    await password.check(RETRY_SECONDS)
    assert password.temporary_file.resolve() == mounted
    show(mounted, "rotated\n")
    assert credentials(password) == ("default", "rotated")
    assert client.applied == 1


async def test_an_existing_password_is_kept_no_matter_who_wrote_it(start: Start, mounted: Path) -> None:
    client = Server()
    await start(settings(mounted), client).check(0)
    initial = client.password
    await start(settings(mounted), client).check(0)  # a controller that crashed before the file appeared
    assert client.password == initial
    client.patch_by_hand("mine")
    second = start(settings(mounted), client)
    await second.check(0)
    assert client.password == "mine"
    with pytest.raises(Outage):
        second.settings.queue.password()
    show(mounted, "mine")
    await second.check(1)
    assert credentials(second) == ("default", "mine")


async def test_a_secret_that_a_tool_emptied_gets_the_same_password_again(start: Start, mounted: Path) -> None:
    client = Server()
    password = start(settings(mounted), client)
    await password.check(0)
    made = client.password
    show(mounted, made)
    await password.check(1)
    client.empty()
    show(mounted, "")
    await password.check(RETRY_SECONDS)
    assert client.password == made
    client.patch_by_hand("another")
    await password.check(2 * RETRY_SECONDS)
    assert client.password == "another", "and never takes one back"


async def test_the_secret_is_tried_again_now_and_then_and_at_once_after_an_outage(start: Start, mounted: Path) -> None:
    client = Server()
    client.outage_seconds = True
    password = start(settings(mounted), client)
    await password.check(0)
    client.outage_seconds = False
    await password.check(5)
    assert (client.applied, bool(client.password)) == (2, True)
    for now in (10, 15, RETRY_SECONDS):
        await password.check(now)
    assert client.applied == 2


async def test_where_the_file_is_there_at_the_start_it_is_used_itself(start: Start, mounted: Path) -> None:
    show(mounted, "there")
    given = settings(mounted)
    assert start(given, Server()).settings == given


async def test_a_secret_of_the_users_own_is_never_written(start: Start, mounted: Path) -> None:
    given = settings(mounted, secret="")
    assert start(given, Server()).settings == given
