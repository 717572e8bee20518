"""Registers the daemon with Consul and keeps it registered (reference: rest 4.5)."""

from __future__ import annotations

import fcntl
import logging
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

import requests

from .bus import events

logger = logging.getLogger(__name__)

SERVICE: Final = 'wazo-webhookd'
ROUTING_KEY: Final = f'service.registered.{SERVICE}'
CALL_SECONDS: Final = 5
STOP_SECONDS: Final = 2
_SIOCGIFADDR: Final = 0x8915

Publish = Callable[[events.PlatformEvent], None]


class Unregistered(Exception):
    """Consul does not know this service (any more)."""


class Consul:
    """The four calls to Consul's agent. They raise requests.RequestException, and Unregistered."""

    def __init__(self, consul: Any) -> None:
        """``consul``: the configuration section of that name."""
        host = f'[{consul.host}]' if ':' in consul.host else consul.host
        self._base = f'{consul.scheme}://{host}:{consul.port}/v1/agent'
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = consul.verify
        certificate = getattr(consul, 'cert', None)
        self._session.cert = tuple(certificate) if isinstance(certificate, list) else certificate
        self._query = {'token': consul.token} if consul.token else {}
        self._headers = {'X-Consul-Token': consul.token.encode()} if consul.token else {}

    def register(self, service: Mapping[str, Any]) -> None:
        self._put('service/register', json=service)

    def heartbeat(self, service_id: str) -> None:
        response = self._send(f'check/pass/service:{quote(service_id)}')
        if not response.ok:  # versions differ in the status they give for an unknown check
            raise Unregistered(f'{response.status_code} {response.text[:200]}')

    def deregister(self, service_id: str, timeout: float) -> None:
        self._send(f'check/deregister/service:{quote(service_id)}', timeout=timeout)
        self._put(f'service/deregister/{quote(service_id)}', timeout=timeout)

    def close(self) -> None:
        self._session.close()

    def _put(self, path: str, **options: Any) -> None:
        self._send(path, **options).raise_for_status()

    def _send(self, path: str, json: Any = None, timeout: float = CALL_SECONDS) -> requests.Response:
        return self._session.put(
            f'{self._base}/{path}', json=json, params=self._query, headers=self._headers, timeout=timeout
        )


class ServiceDiscovery:
    """A thread that registers, sends heartbeats, and registers again when Consul has forgotten the service."""

    def __init__(self, config: Any, publish: Publish, consul: Consul | None = None) -> None:
        """``config``: the whole configuration. ``publish`` may raise; it is then tried again with the next call."""
        self._settings = config.service_discovery
        self._origin_uuid = str(config.uuid)
        self._publish = publish
        self._consul = consul or Consul(config.consul)
        self._id = str(uuid4())
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._registered = False
        self._to_tell: events.PlatformEvent | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name='consul', daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Deregister; takes a few seconds at most."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(CALL_SECONDS + 1)
        if self._registered:
            try:
                self._consul.deregister(self._id, STOP_SECONDS)
                self._publish(self._event('service_deregistered', self._deregistered()))
            except Exception as error:
                logger.info('not deregistered from Consul: %s', type(error).__name__)
        self._consul.close()

    def step(self) -> float:
        """One call to Consul; returns the seconds until the next one."""
        try:
            if self._registered:
                self._consul.heartbeat(self._id)
            else:
                service = self.service()
                self._consul.register(service)
                self._consul.heartbeat(self._id)
                self._registered = True
                self._to_tell = self._event('service_registered', self._described(service))
                logger.info('registered with Consul as %s', self._id)
        except Unregistered as error:
            logger.warning('Consul does not know this service, registering again: %s', error)
            again_at_once, self._registered = self._registered, False
            return 0.0 if again_at_once else float(self._settings.retry_interval)
        except requests.HTTPError as error:
            answer = error.response
            logger.info('Consul refuses (%s %s), trying again', answer.status_code, answer.text[:200])
            return float(self._settings.retry_interval)
        except requests.RequestException as error:
            # The message may contain the URL, which has the token in it.
            logger.info('Consul does not answer (%s), trying again', type(error).__name__)
            return float(self._settings.retry_interval)
        except OSError as error:  # of requests, when there is no such file
            logger.error('consul.cert or consul.verify: %s', error)
            return float(self._settings.retry_interval)
        return float(self._settings.refresh_interval) if self._told() else float(self._settings.retry_interval)

    def service(self) -> dict[str, Any]:
        """What is registered."""
        settings = self._settings
        address = settings.advertise_address
        if address == 'auto':
            address = own_address(settings.advertise_address_interface)
        return {
            'name': SERVICE,
            'id': self._id,
            'address': address,
            'port': settings.advertise_port,
            'tags': self._tags(),
            'check': {'ttl': f'{_whole(settings.ttl_interval)}s'},
        }

    def _tags(self) -> list[str]:
        return [self._origin_uuid, SERVICE, *self._settings.extra_tags]

    def _described(self, service: Mapping[str, Any]) -> dict[str, Any]:
        return {**self._deregistered(), 'address': service['address'], 'port': service['port']}

    def _deregistered(self) -> dict[str, Any]:
        return {'service_name': SERVICE, 'service_id': self._id, 'tags': self._tags()}

    def _event(self, name: str, data: dict[str, Any]) -> events.PlatformEvent:
        return events.build(name, data, origin_uuid=self._origin_uuid, routing_key=ROUTING_KEY, now=datetime.now(UTC))

    def _told(self) -> bool:
        if self._to_tell is not None:
            try:
                self._publish(self._to_tell)
            except Exception as error:
                logger.info('the bus is not told of the registration yet: %s', error)
                return False
            self._to_tell = None
        return True

    def _run(self) -> None:
        wait = 0.0
        while not self._stopping.wait(wait):
            try:
                wait = self.step()
            except Exception:
                logger.exception('registration with Consul failed')
                wait = float(self._settings.retry_interval)


def own_address(interface: str) -> str:
    """The first IPv4 address of the interface, else of any called eth… or en…, else of lo, else 127.0.0.1."""
    others = sorted(name for _, name in socket.if_nameindex() if name.startswith(('eth', 'en')))
    for name in (interface, *others, 'lo'):
        address = _address_of(name)
        if address:
            return address
    return '127.0.0.1'


def _address_of(interface: str) -> str | None:
    request = struct.pack('256s', interface.encode()[:15])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            answer = fcntl.ioctl(sock.fileno(), _SIOCGIFADDR, request)
        except OSError:
            return None
    return socket.inet_ntoa(answer[20:24])


def _whole(seconds: float) -> int | float:
    return int(seconds) if float(seconds).is_integer() else seconds
