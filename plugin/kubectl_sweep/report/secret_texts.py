"""Finds secrets in free text by their shape. Pure; it masks too much rather than too little.

A secret in a text has no mark of its own, so only these are found: user and password of a URL, its path and query where it is a web address,
the rest of a line after a name such as ``password=`` or ``Authorization:``, tokens of known formats, and keys in PEM.
"""

from __future__ import annotations

import re

__all__ = ["MASK", "looks_secret", "mask_text"]

MASK = "***"
# These count inside a longer word too: dbpassword, MYTOKEN.
_STRONG = (
    r"pass(?:word|wd|phrase|code)|secret|token|credential|api[-_. ]?key|access[-_. ]?key|private[-_. ]?key|account[-_. ]?key|"
    r"signing[-_. ]?key|encryption[-_. ]?key|authorization|cookie|connection[-_. ]?string|database[-_. ]?url|webhook[-_. ]?url"
)
_WEAK = r"pwd|pass|auth|dsn|pin|otp|salt|sas|sig|signature|bearer|session[-_. ]?id"  # only as words of their own
_LOOKS_SECRET = re.compile(rf"{_STRONG}|(?:^|[^a-z])(?:{_WEAK})(?:$|[^a-z])", re.IGNORECASE)
# References, which name a secret, and settings about one.
_REFERENCES = frozenset(
    {
        "authenticationref", "automountserviceaccounttoken", "imagepullsecrets", "kubesweep_database_secret", "passwordfile", "secret",
        "secretkeyref", "secretname", "secretref", "secrets", "secrettargetref", "serviceaccounttoken", "tokenexpirationseconds",
    }
)  # fmt: skip
# Error classes of Kubesweep and PostgreSQL: a colon and a sentence follow them.
_ERRORS = frozenset(
    {
        "SecretMissing",
        "SecretKeyMissing",
        "SigningSecretMissing",
        "SigningSecretInvalid",
        "BadSigningSecret",
        "InvalidPassword",
    }
)
_ASSIGNMENT = re.compile(
    rf"((?:{_STRONG}|(?<![a-z])(?:{_WEAK})(?![a-z]))[\w.$-]{{0,64}}[\"'\\\]]{{0,8}}[ \t]*(?:=>|:=|[:=])[ \t]*)(\S[^\r\n]*)",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"\b(bearer|basic|digest|negotiate)([ \t]+)\S{4,}", re.IGNORECASE)
_URL = re.compile(r"([a-z][a-z0-9+.-]{0,30}:)//(\S+)", re.IGNORECASE)
_TOKENS = re.compile(
    r"eyJ[\w-]{4,}(?:\.[\w-]+)*|wh(?:sec|sk|pk)_[\w+/=-]+|gh[pousr]_\w{8,}|github_pat_\w+|glpat-[\w-]+|xox[a-z]-[\w-]+|"
    r"A(?:KIA|SIA)[A-Z0-9]{12,}|[rs]k_(?:live|test)_\w+|sk-[\w-]{16,}|ya29\.[\w-]+|AIza[\w-]{20,}|npm_\w{20,}|pypi-[\w-]{16,}"
)
_PEM = re.compile(r"-----BEGIN [^-]*-----.*?(?:-----END [^-]*-----|\Z)", re.DOTALL)
_HOST = re.compile(r"[\w.:\[\],-]*")
_DETAIL = re.compile(r"(\((?:[^()]|\([^()]*\))*\)\s*=\s*)\((?:[^()]|\([^()]*\))*\)")  # of PostgreSQL: Key (id)=(42)
_SUCH_AS = re.compile(r"\(such as [^)\n]*\)")


def looks_secret(name: str) -> bool:
    """Whether a field, a variable or a header of this name has a secret value."""
    return name.lower() not in _REFERENCES and bool(_LOOKS_SECRET.search(_divided(name)))


def mask_text(text: str, *, with_keys: bool = False) -> str:
    """The text without what looks like a secret and, unless ``with_keys``, without keys of rows in Kubesweep's and PostgreSQL's messages."""
    text = _PEM.sub(MASK, text)
    text = _URL.sub(_address, text)
    text = _ASSIGNMENT.sub(_assigned, text)
    text = _SCHEME.sub(rf"\1\2{MASK}", text)
    text = _TOKENS.sub(MASK, text)
    if with_keys:
        return text
    return _SUCH_AS.sub(f"(such as {MASK})", _DETAIL.sub(lambda found: f"{found[1]}({MASK})", text))


def _divided(name: str) -> str:
    """``dbPassword`` as ``db_Password``, so that words are found in it."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)


def _assigned(found: re.Match[str]) -> str:
    head, rest = found[1], found[2]
    begin = re.search(r"\w*\Z", found.string[max(0, found.start() - 40) : found.start()])
    word = (begin[0] if begin else "") + re.split(r"\W", head, maxsplit=1)[0]
    return f"{head}{_ASSIGNMENT.sub(_assigned, rest) if word in _ERRORS else MASK}"


def _address(found: re.Match[str]) -> str:
    """Everything up to the last @ may be a password, with or without its escapes."""
    scheme, rest = found[1], found[2]
    login, at, rest = rest.rpartition("@")
    end = _HOST.match(rest).end()  # type: ignore[union-attr]  # it matches an empty text
    host, path = rest[:end], rest[end:]
    if any(not part.isdecimal() for part in re.findall(r":([^,:\]]*)(?=,|$)", host)):
        host = MASK  # of a login without its end
    shown = f"{scheme}//{MASK if login else ''}{at}{host}"
    if scheme.lower() in ("http:", "https:"):  # the path of a webhook may be its secret
        return shown + (path if path in ("", "/") else f"/{MASK}")
    where, mark, _ = path.partition("?")
    return f"{shown}{where.partition('#')[0]}{mark}{MASK if mark else ''}"
