"""How certificates are checked: one TLS context per way of checking, kept for the process.

The environment (SSL_CERT_FILE, REQUESTS_CA_BUNDLE, SSLKEYLOGFILE …) has no say.
"""

from __future__ import annotations

import os
import ssl
import stat
import threading
from pathlib import Path
from typing import Final

from requests.utils import DEFAULT_CA_BUNDLE_PATH

Verify = bool | str
"""True: the usual authorities; False: no check; a text: path of a PEM file or of a hashed folder."""

MAX_BUNDLE_BYTES: Final = 8 * 1024 * 1024
MAX_CONTEXTS: Final = 64


class BadBundle(OSError):
    """The file with certificate authorities cannot be used."""


class TlsContexts:
    """Makes and keeps contexts; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple[Verify, float], ssl.SSLContext] = {}

    def context(self, verify: Verify) -> ssl.SSLContext:
        """The context for one way of checking. A bundle that changed on disk is read again. Raises BadBundle."""
        key = verify, _changed_at(verify)
        context = self._kept.get(key)
        if context is None:
            with self._lock:
                context = self._kept.get(key) or _make(verify)
                while len(self._kept) >= MAX_CONTEXTS:
                    del self._kept[next(iter(self._kept))]
                self._kept[key] = context
        return context


def _changed_at(verify: Verify) -> float:
    if isinstance(verify, bool):
        return 0.0
    try:
        return os.stat(verify).st_mtime
    except (OSError, ValueError):
        raise BadBundle(f'could not find a suitable TLS CA certificate bundle, invalid path: {verify}') from None


def _make(verify: Verify) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(['http/1.1'])
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif verify is True:
        folder = ssl.get_default_verify_paths().openssl_capath
        context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH, folder if os.path.isdir(folder) else None)
    else:
        _load(context, verify)
    return context


def _load(context: ssl.SSLContext, path: str) -> None:
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISDIR(kind):
            context.load_verify_locations(capath=path)
            return
        if not stat.S_ISREG(kind):  # a device or a pipe would be read for ever
            raise BadBundle(f'not a file with TLS CA certificates: {path}')
        with Path(path).open('rb') as file:
            text = file.read(MAX_BUNDLE_BYTES).decode('ascii', errors='ignore')
        context.load_verify_locations(cadata=text)
    except BadBundle:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else 'no certificates in it'
        raise BadBundle(f'cannot use {path} as TLS CA certificates: {reason}') from None
