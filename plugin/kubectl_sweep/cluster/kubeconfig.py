"""From the options to a login: the kubeconfig, its context, and the program that fetches a token. Errors name what to do.

The order is kubectl's: ``--kubeconfig``, the variable KUBECONFIG, ``~/.kube/config``, and in a pod its service account.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kubectl_sweep.cluster.options import ClusterOptions
from kubesweep.errors import Outage, SpecError
from kubesweep.text import nearest_name

__all__ = ["load", "namespace_of"]

DEFAULT = "~/.kube/config"
POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
RETRIES = 3  # of a request that the API server asks to repeat


def load(options: ClusterOptions) -> tuple[Any, str]:
    """An ApiClient and the namespace of the context. Raises SpecError, and Outage where no login is possible."""
    paths = options.kubeconfig or os.environ.get("KUBECONFIG") or DEFAULT
    files = [path for each in paths.split(os.pathsep) if each and (path := Path(each).expanduser()).exists()]
    if not files and not options.kubeconfig and "KUBERNETES_SERVICE_HOST" in os.environ:
        return _in_pod()
    if not files:
        raise SpecError(
            "NoKubeconfig",
            f"There is no kubeconfig: {paths.replace(os.pathsep, ', ')} does not exist.\n"
            "Name it with --kubeconfig FILE or the variable KUBECONFIG, or fetch one from your cluster's provider.",
        )
    return _from_files(files, options)


def _in_pod() -> tuple[Any, str]:
    from kubernetes.config import load_incluster_config
    from kubernetes.config.config_exception import ConfigException

    configuration = _configuration()
    try:
        load_incluster_config(client_configuration=configuration)
    except ConfigException as error:
        raise SpecError(
            "NoKubeconfig",
            f"There is no kubeconfig, and this pod has no service account to log in with: {error}\n"
            "Name a kubeconfig with --kubeconfig FILE, or set automountServiceAccountToken in the pod.",
        ) from None
    return _client(configuration), POD_NAMESPACE.read_text().strip() if POD_NAMESPACE.exists() else "default"


def _from_files(files: Sequence[Path], options: ClusterOptions) -> tuple[Any, str]:
    from kubernetes.config.config_exception import ConfigException
    from kubernetes.config.kube_config import KubeConfigLoader, KubeConfigMerger

    shown = ", ".join(map(str, files))
    try:
        merger = KubeConfigMerger(os.pathsep.join(map(str, files)))
        found = merger.config
    except (ConfigException, OSError, ValueError, AttributeError, TypeError) as error:
        raise _unusable(shown, error) from None
    except Exception as error:  # of the YAML parser, whose package need not be known here
        raise _unusable(shown, error) from None
    if found is None:
        raise _unusable(shown, ValueError("it is empty"))
    contexts = [str(each["name"]) for each in found.value.get("contexts") or ()]
    _choose(options.context or found.value.get("current-context") or "", contexts, shown, given=bool(options.context))
    try:
        loader = KubeConfigLoader(
            found, active_context=options.context, config_base_path=None, config_persister=merger.save_changes
        )
        configuration = _configuration()
        with _logged_errors() as problems:
            loader.load_and_set(configuration)
    except (ConfigException, OSError, KeyError, TypeError, ValueError) as error:
        raise _unusable(shown, error) from None
    uses_plugin = loader._user is not None and "exec" in loader._user
    if problems and uses_plugin and "BearerToken" not in configuration.api_key and not configuration.cert_file:
        raise _no_login(str(loader._user.value["exec"].get("command", "")), problems)
    return _client(configuration), namespace_of(loader.current_context)


def namespace_of(context: Any) -> str:
    """The namespace of a context as the kubeconfig has it."""
    return str((context.get("context") or {}).get("namespace") or "default")


def _choose(name: str, contexts: Sequence[str], shown: str, *, given: bool) -> None:
    """Raise SpecError unless ``name`` is one of the contexts."""
    if name in contexts:
        return
    known = f"It has: {', '.join(contexts)}." if contexts else "It has no context."
    near = nearest_name(name, contexts, cutoff=0.5) if name else None
    hint = f"Did you mean {near}? " if near else ""
    if not name:
        raise SpecError(
            "NoContext",
            f"The kubeconfig {shown} has no current context.\n{known} Name one:  --context NAME, or kubectl config use-context NAME",
        )
    what = f"There is no context {name} in" if given else f"The current context {name} is missing in"
    raise SpecError("UnknownContext", f"{what} the kubeconfig {shown}.\n{hint}{known}")


def _unusable(shown: str, error: Exception) -> SpecError:
    return SpecError(
        "BadKubeconfig",
        f"The kubeconfig {shown} cannot be used: {' '.join(str(error).split())}.\nCheck it:  kubectl config view",
    )


def _no_login(command: str, problems: Sequence[str]) -> Outage:
    missing = any("No such file" in each for each in problems)
    what = f"its program {command} is not installed" if missing else f"its program {command} failed: {problems[0]}"
    return Outage(
        "ApiLogin",
        f"The login of this context failed: {what}.\n"
        "Install it or log in again as your cluster provider says, then try:  kubectl auth whoami",
    )


@contextmanager
def _logged_errors() -> Iterator[list[str]]:
    """The errors that the kubernetes package logs where it should raise them: those of a program that fetches a token."""
    found: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    root, collector = logging.getLogger(), Collector(logging.ERROR)
    root.addHandler(collector)
    try:
        yield found
    finally:
        root.removeHandler(collector)


def _configuration() -> Any:
    from kubernetes.client import Configuration

    return Configuration()


def _client(configuration: Any) -> Any:
    from kubernetes.client import ApiClient
    from urllib3 import Retry

    # A refused connection is final; a busy server names the seconds after which to repeat a request.
    configuration.retries = Retry(total=RETRIES, connect=0, read=1, redirect=0, raise_on_status=False)
    return ApiClient(configuration)
