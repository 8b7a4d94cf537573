"""The bundled queue's password: put into its Secret once, whatever else writes to it, and used before the kubelet shows it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from kubesweep.errors import Outage
from kubesweep.queue.redis.connections import parse
from kubesweep_controller.kube.client import ApiOutage, Kind, Refused
from kubesweep_controller.queue.password import AGAIN, QueuePassword
from kubesweep_controller.settings import Settings, from_environment
from tests.kits.controller import Recorder

Start = Callable[[Settings, "Server"], QueuePassword]


class Server(Recorder):
    """One Secret, and server-side apply as far as it matters here: who owns ``data.password``, and conflicts."""

    def __init__(self) -> None:
        super().__init__()
        self.password, self.owners = "", set[str]()
        self.applied = 0
        self.away = False

    async def apply(
        self, kind: Kind, body: Mapping[str, Any], manager: str = "", *, force: bool = True
    ) -> dict[str, Any]:
        assert not force
        assert (kind.kind, body["metadata"]) == ("Secret", {"name": "ks-kubesweep-redis", "namespace": "kubesweep"})
        self.applied += 1
        if self.away:
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
    """What the kubelet does."""
    mounted.write_text(password)


def credentials(of: QueuePassword) -> Any:
    """What a connection to the queue logs in with now."""
    return parse(of.settings.queue_url).options["credential_provider"].get_credentials()


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    return tmp_path / "password"


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts controllers, each with files of its own."""
    started: list[QueuePassword] = []

    def begin(given: Settings, api: Server) -> QueuePassword:
        started.append(QueuePassword.of(given, api))
        return started[-1]

    yield begin
    for each in started:
        each.close()


async def test_the_first_leader_makes_a_password_and_logs_in_with_it_before_the_kubelet_shows_it(
    start: Start, mounted: Path
) -> None:
    api = Server()
    password = start(settings(mounted), api)
    with pytest.raises(Outage):
        password.settings.queue.password()  # nobody is given an empty one
    await password.look(0)
    assert len(api.password) >= 40
    assert credentials(password) == ("default", api.password)
    assert password.settings.queue.password() == api.password
    assert password.stand_in is not None
    assert password.stand_in.stat().st_mode & 0o777 == 0o600
    assert api.password not in repr(password)
    show(mounted, api.password)
    await password.look(AGAIN)
    assert password.stand_in.resolve() == mounted
    show(mounted, "rotated\n")
    assert credentials(password) == ("default", "rotated")
    assert api.applied == 1


async def test_a_password_that_stands_is_left_alone_whoever_put_it_there(start: Start, mounted: Path) -> None:
    api = Server()
    await start(settings(mounted), api).look(0)
    first = api.password
    await start(settings(mounted), api).look(0)  # a controller that died before the file came
    assert api.password == first
    api.patch_by_hand("mine")
    second = start(settings(mounted), api)
    await second.look(0)
    assert api.password == "mine"
    with pytest.raises(Outage):
        second.settings.queue.password()
    show(mounted, "mine")
    await second.look(1)
    assert credentials(second) == ("default", "mine")


async def test_a_secret_that_a_tool_emptied_gets_the_same_password_again(start: Start, mounted: Path) -> None:
    api = Server()
    password = start(settings(mounted), api)
    await password.look(0)
    made = api.password
    show(mounted, made)
    await password.look(1)
    api.empty()
    show(mounted, "")
    await password.look(AGAIN)
    assert api.password == made
    api.patch_by_hand("another")
    await password.look(2 * AGAIN)
    assert api.password == "another", "and never takes one back"


async def test_the_secret_is_tried_again_now_and_then_and_at_once_after_an_outage(start: Start, mounted: Path) -> None:
    api = Server()
    api.away = True
    password = start(settings(mounted), api)
    await password.look(0)
    api.away = False
    await password.look(5)
    assert (api.applied, bool(api.password)) == (2, True)
    for now in (10, 15, AGAIN):
        await password.look(now)
    assert api.applied == 2


async def test_where_the_file_is_there_at_the_start_it_is_used_itself(start: Start, mounted: Path) -> None:
    show(mounted, "there")
    given = settings(mounted)
    assert start(given, Server()).settings == given


async def test_a_secret_of_the_users_own_is_never_written(start: Start, mounted: Path) -> None:
    given = settings(mounted, secret="")
    assert start(given, Server()).settings == given
