"""The controller's settings, read from its environment and validated at the start.

Everything that the chart sets is here and nowhere else. An invalid value is a ``SpecError`` that names the variable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from kubesweep.api.problems import SpecErrors
from kubesweep.errors import SpecError
from kubesweep_controller.children.pod_defaults import PodDefaults, read_defaults
from kubesweep_controller.children.pod_policy import ANY, PodPolicy
from kubesweep_controller.children.pod_settings import PodSettings
from kubesweep_controller.queue_address import QueueAddress

LEVELS = ("debug", "info", "warning", "error")
NAMESPACES = "KUBESWEEP_NAMESPACES"
ACCOUNTS = "KUBESWEEP_POD_SERVICE_ACCOUNTS"
DEFAULTS = "KUBESWEEP_WORKER_DEFAULTS"
CONSOLE = "KUBESWEEP_CONSOLE_PORT"
USERS = ("shared", "per-namespace")
_UNITS = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


@dataclass(frozen=True)
class Settings:
    queue_url: str = field(repr=False)  # with the controller's own credentials
    queue: QueueAddress  # the same, parsed
    pods: PodSettings
    namespace: str  # of the controller and its Lease
    identity: str  # the holder's name in the Lease
    queue_secret: str = ""  # in this namespace: gets a generated password if it has none
    per_namespace_users: bool = False
    namespace_memory: int = 0  # bytes that the keys of a namespace may use; 0: no limit
    namespaces: tuple[str, ...] = ()  # empty: all
    pod_policy: PodPolicy = field(default_factory=PodPolicy)
    lease_name: str = "kubesweep-controller"
    polling_interval: int = 5  # KEDA's, seconds
    log_level: str = "info"
    port: int = 8080
    console_port: int | None = None  # None: no console
    console_base: str = ""  # the path under which a proxy serves the console


def from_environment(env: Mapping[str, str]) -> Settings:
    """Raises ``SpecError`` (code ``BadEnvironment``) for a variable that is missing or invalid."""
    url = _needed(env, "KUBESWEEP_QUEUE", "the URL of the queue, such as redis://redis.kubesweep.svc:6379/0")
    level = _one_of(env, "KUBESWEEP_LOG_LEVEL", LEVELS, "info")
    return Settings(
        queue_url=url,
        queue=QueueAddress.of(url),
        pods=PodSettings(
            image=_needed(env, "KUBESWEEP_WORKER_IMAGE", "the image of worker and producer"),
            pull_policy=_one_of(env, "KUBESWEEP_WORKER_PULL_POLICY", ("Always", "IfNotPresent", "Never", ""), ""),
            pull_secrets=comma_separated(env, "KUBESWEEP_WORKER_PULL_SECRETS"),
            log_level=level,
            release=env.get("KUBESWEEP_RELEASE", ""),
            labels=_labels(env, "KUBESWEEP_LABELS"),
            copied_labels=comma_separated(env, "KUBESWEEP_COPIED_LABELS"),
            defaults=_defaults(env),
        ),
        namespace=_needed(env, "POD_NAMESPACE", "the controller's namespace, from the downward API"),
        identity=_needed(env, "POD_NAME", "the name of the controller's pod, from the downward API"),
        queue_secret=env.get("KUBESWEEP_QUEUE_SECRET", ""),
        per_namespace_users=_one_of(env, "KUBESWEEP_QUEUE_USERS", USERS, "shared") == "per-namespace",
        namespace_memory=_bytes(env, "KUBESWEEP_NAMESPACE_MEMORY"),
        namespaces=comma_separated(env, NAMESPACES),
        pod_policy=_pod_policy(env),
        lease_name=env.get("KUBESWEEP_LEASE_NAME") or "kubesweep-controller",
        polling_interval=_integer(env, "KUBESWEEP_POLLING_INTERVAL", 5, 1, 3600),
        log_level=level,
        port=_integer(env, "KUBESWEEP_PORT", 8080, 0, 65535),
        console_port=_integer(env, CONSOLE, 0, 0, 65535) if env.get(CONSOLE) else None,
        console_base=env.get("KUBESWEEP_CONSOLE_BASE", "").rstrip("/"),
    )


def _needed(env: Mapping[str, str], name: str, what: str) -> str:
    value = env.get(name, "").strip()
    if not value:
        raise SpecError("BadEnvironment", f"{name} is not set: set it to {what}")
    return value


def comma_separated(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    """A variable that holds a list, separated by commas."""
    return tuple(dict.fromkeys(word.strip() for word in env.get(name, "").split(",") if word.strip()))


def _pod_policy(env: Mapping[str, str]) -> PodPolicy:
    """An unset list of service accounts allows all of them; an empty one allows none."""
    accounts = comma_separated(env, ACCOUNTS) if ACCOUNTS in env else (ANY,)
    switches = (f"KUBESWEEP_POD_{name}" for name in ("PRIVILEGED", "TOKEN"))
    privileged, token = (_one_of(env, name, ("true", "false"), "false") == "true" for name in switches)
    return PodPolicy(privileged, token, accounts)


def _defaults(env: Mapping[str, str]) -> PodDefaults:
    try:
        return read_defaults(msgspec.json.decode(env.get(DEFAULTS) or "{}"))
    except (msgspec.MsgspecError, RecursionError):
        raise SpecError("BadEnvironment", f"{DEFAULTS} must be JSON") from None
    except SpecErrors as errors:
        raise SpecError("BadEnvironment", f"{DEFAULTS}: {errors}") from None


def _labels(env: Mapping[str, str], name: str) -> dict[str, str]:
    try:
        return msgspec.json.decode(env.get(name) or "{}", type=dict[str, str])
    except msgspec.MsgspecError:
        raise SpecError("BadEnvironment", f"{name} must be a JSON object of strings") from None


def _one_of(env: Mapping[str, str], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = env.get(name) or default
    if value not in allowed:
        known = ", ".join(each for each in allowed if each)
        raise SpecError("BadEnvironment", f'{name} is "{value}": it must be one of {known}')
    return value


def _bytes(env: Mapping[str, str], name: str) -> int:
    text = env.get(name) or "0"
    number, unit = text.rstrip("KMGi"), text.lstrip("0123456789")
    if not number.isdecimal() or unit not in _UNITS:
        raise SpecError(
            "BadEnvironment", f'{name} is "{text}": it must be a number of bytes, or a number with Ki, Mi or Gi'
        )
    return int(number) * _UNITS[unit]


def _integer(env: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = env.get(name) or str(default)
    if not text.isdecimal() or not least <= int(text) <= most:
        raise SpecError("BadEnvironment", f'{name} is "{text}": it must be a whole number from {least} to {most}')
    return int(text)
