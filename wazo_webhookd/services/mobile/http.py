"""HTTP to the push services: connections are kept, and nothing of the environment is used."""

from __future__ import annotations

import hashlib
import os
import ssl
import tempfile
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS: Final = 10
ANSWER_SECONDS: Final = 15
CLIENTS_KEPT: Final = 50


class PushClients:
    """One HTTP/2 client per client certificate and proxy. Thread-safe; httpx is imported when the first is made."""

    def __init__(self, transport: Any = None) -> None:
        """``transport``: for tests, answers instead of the network."""
        self._transport = transport
        self._lock = threading.Lock()
        self._clients: dict[str, httpx.Client] = {}

    def client(self, proxy: str | None = None, certificate: str | None = None) -> httpx.Client:
        """``certificate``: PEM text of certificate and private key. Raises ssl.SSLError when it cannot be used."""
        import httpx

        key = f'{proxy} {hashlib.sha256(certificate.encode()).hexdigest() if certificate else ""}'
        with self._lock:
            known = self._clients.pop(key, None)
            if known is None:
                known = httpx.Client(
                    http2=True,
                    verify=_context(certificate),
                    proxy=proxy,
                    trust_env=False,
                    follow_redirects=False,
                    timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
                    transport=self._transport,
                )
            self._clients[key] = known  # the last one used is the last one
            if len(self._clients) > CLIENTS_KEPT:
                self._clients.pop(next(iter(self._clients))).close()
            return known


def _context(certificate: str | None) -> ssl.SSLContext:
    import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    if certificate:
        descriptor, path = tempfile.mkstemp(prefix='wazo-webhookd-', suffix='.pem')  # mode 0600
        try:
            with os.fdopen(descriptor, 'w') as file:
                file.write(certificate)
            context.load_cert_chain(path, password='')  # or a key with a password would be asked for at a terminal
        finally:
            os.unlink(path)
    return context
