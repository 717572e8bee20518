"""How a URL is read, and which endpoint a delivery leads to: the only URL parser of the program.

The grammar is strict where readers of URLs disagree (user information, spellings of addresses, ports,
international names) because a guard is only as good as the agreement on what it judges. Callers use the
parts of a ``Target``; nobody reads the text a second time.

Sources: RFC 3986, RFC 1123 (names), RFC 5891 (international names), RFC 5952 (how IPv6 is written).
"""

from __future__ import annotations

import encodings.idna
import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote

MAX_URL_CHARACTERS: Final = 16384
DEFAULT_PORTS: Final = {'http': 80, 'https': 443}
MASK: Final = '********'


class BadURL(ValueError):
    """A text that is not a URL we call. ``rule`` is the class of the fault, ``detail`` a sentence."""

    def __init__(self, rule: str, detail: str) -> None:
        self.rule = rule
        self.detail = detail
        super().__init__(detail)


@dataclass(frozen=True, slots=True)
class Authority:
    """Where a URL leads. ``host`` is lower-case ASCII without brackets; ``address`` is set when it is an address."""

    scheme: str
    host: str
    port: int
    credentials: tuple[str, str] | None
    address: ipaddress.IPv4Address | ipaddress.IPv6Address | None
    origin: str
    """``scheme://host:port``, the port always written."""
    host_header: str
    """What the Host header says: the port only when it is not the scheme's own."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that was read. ``path_query`` is what a request line carries: ASCII, starting with a slash."""

    authority: Authority
    path_query: str

    @property
    def scheme(self) -> str:
        return self.authority.scheme

    @property
    def host(self) -> str:
        return self.authority.host

    @property
    def port(self) -> int:
        return self.authority.port

    @property
    def origin(self) -> str:
        return self.authority.origin

    @property
    def masked_url(self) -> str:
        """The URL as it may be shown: a password is replaced."""
        authority = self.authority
        login = f'{quote(authority.credentials[0], safe="")}:{MASK}@' if authority.credentials else ''
        return f'{authority.scheme}://{login}{authority.host_header}{self.path_query}'


_START = re.compile(r'([Hh][Tt]{2}[Pp][Ss]?)://([^/?#]*)')  # ignoring case would take other letters for an s
_LITERAL_START = re.compile(r'([Hh][Tt]{2}[Pp][Ss]?)://([^/?#{]*)(?=[/?#]|\Z)')
_FORBIDDEN = re.compile(r'[\x00-\x20\x7f\\]')
_FORBIDDEN_BUT_SPACE = re.compile(r'[\x00-\x1f\x7f\\]')
_CREDENTIALS = re.compile(r'((?:[A-Za-z0-9\-._~]|%[0-9A-Fa-f]{2})+):((?:[A-Za-z0-9\-._~]|%[0-9A-Fa-f]{2})+)')
_BRACKETS = re.compile(r'\[([0-9A-Fa-f:.]+)\](?:(:)(.*))?')
_PORT = re.compile(r'[1-9][0-9]{0,4}')
_NUMBER = re.compile(r'[0-9]+|0x[0-9a-f]*')
_IPV4 = re.compile(r'(?:(?:0|[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])(?:\.(?!\Z)|\Z)){4}')
_LABEL = re.compile(r'(?!-)[a-z0-9_-]{1,63}(?<!-)')
_CLEAN_PATH = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*")
_UNCLEAN = re.compile(r"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9\-._~!$&'()*+,;=:@/?%]")


def parse(url: str, *, spaces: bool = False) -> Target:
    """Read an absolute http(s) URL. Raises BadURL.

    Characters that a path or query cannot carry are percent-encoded, except control characters, spaces and
    backslashes, which are refused; with ``spaces`` a space after the authority is encoded too. A fragment
    is dropped: it is never sent.
    """
    if len(url) > MAX_URL_CHARACTERS:
        raise BadURL('url-length', f'the URL is longer than {MAX_URL_CHARACTERS} characters')
    start = _START.match(url)
    if start is None:
        if _FORBIDDEN.search(url):
            raise BadURL('url-characters', 'the URL has a control character, a space or a backslash')
        raise BadURL('url-scheme', 'not an absolute http or https URL')
    rest = url[start.end() :]
    if _FORBIDDEN.search(start[2]) or (_FORBIDDEN_BUT_SPACE if spaces else _FORBIDDEN).search(rest):
        raise BadURL('url-characters', 'the URL has a control character, a space or a backslash')
    return Target(read_authority(start[1].lower(), start[2]), _path_query(rest))


def literal_authority(template: str) -> Authority | None:
    """The authority that every rendering of a URL template has, or None when the template decides it.

    It is literal when it is written out before the first brace and ended by ``/``, ``?``, ``#`` or the end.
    """
    start = _LITERAL_START.match(template)
    if start is None:
        return None
    try:
        return read_authority(start[1].lower(), start[2])
    except BadURL:
        return None


def literal_origin(template: str) -> str | None:
    """``scheme://host:port`` of every rendering of a URL template, or None when the template decides it."""
    authority = literal_authority(template)
    return None if authority is None else authority.origin


def admission_key(tenant_uuid: str, subscription_uuid: str, service: str, url_template: object) -> str:
    """The endpoint of a lane: ``<tenant>|<scheme>://<host>:<port>``, or ``sub:<uuid>`` where no origin is literal."""
    origin = literal_origin(url_template) if service == 'http' and isinstance(url_template, str) else None
    return f'sub:{subscription_uuid}' if origin is None else f'{tenant_uuid}|{origin}'


@lru_cache(maxsize=2048)
def read_authority(scheme: str, text: str) -> Authority:
    """Read ``[name:password@]host[:port]``. Raises BadURL."""
    if len(text) > 2048:
        raise BadURL('url-host', 'the host is too long')
    login, at, place = text.rpartition('@')
    if not place:
        raise BadURL('url-scheme', 'the URL has no host')
    credentials = None
    address: ipaddress.IPv4Address | ipaddress.IPv6Address | None
    if at:
        match = _CREDENTIALS.fullmatch(login)
        if match is None:
            raise BadURL('url-userinfo', 'only name:password may stand before the host')
        credentials = unquote(match[1]), unquote(match[2])
    if _FORBIDDEN.search(text):
        raise BadURL('url-characters', 'the URL has a control character, a space or a backslash')
    if '%' in place:
        raise BadURL('url-host', 'a percent sign in the host')
    if place.startswith('['):
        host, port, address = _bracketed(scheme, place)
        shown = f'[{host}]'
    else:
        name, colon, digits = place.partition(':')
        port = _port(scheme, colon, digits)
        host, address = _name(name)
        shown = host
    return Authority(
        scheme=scheme,
        host=host,
        port=port,
        credentials=credentials,
        address=address,
        origin=f'{scheme}://{shown}:{port}',
        host_header=shown if port == DEFAULT_PORTS[scheme] else f'{shown}:{port}',
    )


def _bracketed(scheme: str, place: str) -> tuple[str, int, ipaddress.IPv6Address]:
    match = _BRACKETS.fullmatch(place)
    if match is None:
        raise BadURL('url-host', 'brackets that do not hold an IPv6 address')
    try:
        address = ipaddress.IPv6Address(match[1])
    except ValueError:
        raise BadURL('url-host', 'brackets that do not hold an IPv6 address') from None
    return write_ipv6(int(address)), _port(scheme, match[2] or '', match[3] or ''), address


def _port(scheme: str, colon: str, digits: str) -> int:
    if not colon:
        return DEFAULT_PORTS[scheme]
    if _PORT.fullmatch(digits) is None or int(digits) > 65535:
        raise BadURL('url-port', 'the port is not a number from 1 to 65535')
    return int(digits)


def _name(text: str) -> tuple[str, ipaddress.IPv4Address | None]:
    name = text.lower() if text.isascii() else '.'.join(_international(label) for label in text.split('.'))
    bare = name[:-1] if name.endswith('.') else name
    labels = bare.split('.')
    if _NUMBER.fullmatch(labels[-1]):
        if _IPV4.fullmatch(name) is None:
            raise BadURL('url-host', 'an IPv4 address has four decimal numbers without leading zeros')
        return name, ipaddress.IPv4Address(name)
    if len(bare) > 253 or any(_LABEL.fullmatch(label) is None for label in labels):
        raise BadURL('url-host', 'not a host name')
    return bare, None


def _international(label: str) -> str:
    """The ASCII form of a label; refused when writing it so changes what a reader sees (RFC 5891, 4)."""
    lower = label.lower()
    if label.isascii():
        return lower
    known = all(c in '-_' or unicodedata.category(c)[0] in 'LMN' for c in label)
    if len(label) < 64 and known and not any(c.lower().isascii() for c in label if not c.isascii()):
        try:
            encoded = encodings.idna.ToASCII(lower)
            if encodings.idna.ToUnicode(encoded) == lower:
                return encoded.decode('ascii').lower()
        except UnicodeError:
            pass
    raise BadURL('url-host', 'characters that a host name cannot have')


def write_ipv6(number: int) -> str:
    """RFC 5952 text of an address, always in hexadecimal (Python's own text changed between versions)."""
    groups = [f'{number >> shift & 0xFFFF:x}' for shift in range(112, -16, -16)]
    best_start, best_length, start = 0, 0, None
    for position, group in enumerate([*groups, 'end']):
        if group == '0':
            start = position if start is None else start
        elif start is not None:
            if position - start > best_length:
                best_start, best_length = start, position - start
            start = None
    if best_length < 2:
        return ':'.join(groups)
    return f'{":".join(groups[:best_start])}::{":".join(groups[best_start + best_length :])}'


def _path_query(rest: str) -> str:
    rest = rest.partition('#')[0]
    if not rest.startswith('/'):
        rest = f'/{rest}'
    if _CLEAN_PATH.fullmatch(rest):
        return rest
    return _UNCLEAN.sub(lambda match: quote(match[0], safe='', errors='replace'), rest)
