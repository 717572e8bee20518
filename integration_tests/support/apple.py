"""A stand-in for Apple's push service: HTTP/2 over TLS, which asks for a client certificate."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Certificates:
    """An authority, a certificate for 127.0.0.1 and one for a client, in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, 'test authority')])
        self.authority = folder / 'authority.pem'
        certificate = self._made('test authority', self._key.public_key(), is_authority=True)
        self.authority.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self.server_certificate, self.server_key = self.issue('127.0.0.1')
        self.server_file = folder / 'server.pem'
        self.server_file.write_text(self.server_certificate + self.server_key)

    def issue(self, name: str) -> tuple[str, str]:
        """A certificate and its private key, both PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._made(name, key.public_key(), is_authority=False)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()

    def _made(self, name: str, key: Any, is_authority: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if not is_authority:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ip_address('127.0.0.1'))]), critical=False
            )
        return builder.sign(self._key, hashes.SHA256())


class Apple:
    """Records ``requests`` (path, headers, body, name in the client certificate); answers ``status``, ``answer``."""

    def __init__(self, certificates: Certificates) -> None:
        self.requests: list[dict[str, Any]] = []
        self.connections = 0
        self.status = 200
        self.answer: Any = None
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates.authority))
        self._context.load_cert_chain(certificates.server_file)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.set_alpn_protocols(['h2'])
        self._listening = socket.create_server(('127.0.0.1', 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True, name='apple').start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with self._context.wrap_socket(connection, server_side=True) as tls:
                self.connections += 1
                self._speak(tls)
        except OSError:
            connection.close()

    def _speak(self, tls: ssl.SSLSocket) -> None:
        protocol = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding='utf-8'))
        protocol.initiate_connection()
        tls.sendall(protocol.data_to_send())
        heads: dict[int, dict[str, str]] = {}
        bodies: dict[int, bytes] = {}
        subject = {key: value for ((key, value),) in tls.getpeercert()['subject']}  # type: ignore[index, misc]
        while data := tls.recv(65536):
            for event in protocol.receive_data(data):
                stream: Any = getattr(event, 'stream_id', None)
                if isinstance(event, h2.events.RequestReceived):
                    heads[stream] = dict(event.headers)
                    bodies[stream] = b''
                elif isinstance(event, h2.events.DataReceived):
                    bodies[stream] += event.data
                    protocol.acknowledge_received_data(event.flow_controlled_length, stream)
                if isinstance(event, h2.events.StreamEnded):
                    self.requests.append(
                        {
                            'path': heads[stream][':path'],
                            'headers': heads[stream],
                            'body': json.loads(bodies[stream]),
                            'client': subject['commonName'],
                        }
                    )
                    protocol.send_headers(stream, [(':status', str(self.status))], end_stream=self.answer is None)
                    if self.answer is not None:
                        protocol.send_data(stream, json.dumps(self.answer).encode(), end_stream=True)
            tls.sendall(protocol.data_to_send())
