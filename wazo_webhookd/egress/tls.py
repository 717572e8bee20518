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

Place = tuple[int, int, float]
"""Device, inode and time of the last change: the same however a path is spelled."""

MAX_BUNDLE_BYTES: Final = 8 * 1024 * 1024
MAX_CONTEXTS: Final = 64


class BadBundle(OSError):
    """The file with certificate authorities cannot be used."""


class TlsContexts:
    """Makes and keeps contexts; safe to share between threads. However many bundles there are, they push out only
    each other: the usual contexts stay, and so do the connections that were made with them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._usual: dict[bool, ssl.SSLContext] = {}
        self._making_bundle = threading.Lock()
        self._bundles: dict[Place, ssl.SSLContext] = {}

    def context(self, verify: Verify) -> ssl.SSLContext:
        """The context for one way of checking. A bundle that changed on disk is read again. Raises BadBundle."""
        if not isinstance(verify, bool):
            return self._bundle(verify)
        context = self._usual.get(verify)
        if context is None:
            with self._lock:
                context = self._usual[verify] = self._usual.get(verify) or _make(verify)
        return context

    def _bundle(self, path: str) -> ssl.SSLContext:
        place = _place(path)
        context = self._bundles.get(place)
        if context is None:
            with self._making_bundle:
                context = self._bundles.get(place) or _make(path)
                while len(self._bundles) >= MAX_CONTEXTS:
                    del self._bundles[next(iter(self._bundles))]
                self._bundles[place] = context
        return context


def _place(path: str) -> Place:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        raise BadBundle(f'could not find a suitable TLS CA certificate bundle, invalid path: {path}') from None
    return found.st_dev, found.st_ino, found.st_mtime


def _make(verify: Verify) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(['http/1.1'])
    context.options |= ssl.OP_NO_RENEGOTIATION  # a receiver could ask for it for ever, at our processor's cost
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
