"""The URL of a webhook, as a spec may give it."""

from __future__ import annotations

import re
from typing import Annotated

from kubesweep.api.host import check_host
from kubesweep.api.models import cel
from kubesweep.api.models.types import Plain

_ADDRESS = r"https?://([^/?#\s]+)([/?#]\S*)?"
_NO_ADDRESS = "write a complete URL, such as https://example.com/hook, without blanks"
_LOGIN = "a user or password in the address is refused: put an Authorization header into headersFrom"


def _is_web_address(text: str) -> None:
    found = re.fullmatch(_ADDRESS, text)
    if not found:
        raise ValueError(_NO_ADDRESS)
    if "@" in found.group(1):
        raise ValueError(_LOGIN)
    host = re.fullmatch(r"([^:\[\]]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?", found.group(1))
    if not host or (host.group(2) and not 0 < int(host.group(2)) < 65536):
        raise ValueError("the host or port in the address is wrong; write it like https://example.com:8443/hook")
    try:
        check_host(host.group(1))
    except ValueError as error:
        raise ValueError(f"the host in the address is not valid: {error}") from None


# A forbidden rule, not an invalid one: the API server does not show its value, which may contain a password.
_ADDRESS_RULES = (
    cel.forbidden(cel.matches(f"^{_ADDRESS}$"), _NO_ADDRESS),
    cel.forbidden("!" + cel.matches("^https?://[^/?#]*@"), _LOGIN),
)

WebAddress = Annotated[str, Plain(most=2048, least=1, code="BadUrl", also=_is_web_address, rules=_ADDRESS_RULES)]
