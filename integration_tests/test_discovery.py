"""Registration with Consul over real HTTP: an agent that forgets, and one that is away."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from integration_tests.support.until import until
from wazo_webhookd.config import from_tree
from wazo_webhookd.discovery import ServiceDiscovery, own_address


class Agent:
    """Consul's agent, as far as services need it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str | None, Any]] = []
        self.services: dict[str, Any] = {}
        agent = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_PUT(self) -> None:
                path, _, query = self.path.partition('?')
                text = self.rfile.read(int(self.headers.get('Content-Length') or 0))
                body = json.loads(text) if text else None
                agent.calls.append((path, query, self.headers.get('X-Consul-Token'), body))
                self.send_response(agent.answer(path, body))
                self.send_header('Content-Length', '0')
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Calls are recorded, not printed."""

        self._server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, path: str, body: Any) -> int:
        service_id = path.rpartition('/')[2].removeprefix('service:')
        if path == '/v1/agent/service/register':
            self.services[body['id']] = body
        elif path.startswith('/v1/agent/service/deregister/'):
            self.services.pop(service_id, None)
        elif path.startswith('/v1/agent/check/pass/'):
            return 200 if service_id in self.services else 500
        return 200

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def agent() -> Iterator[Agent]:
    agent = Agent()
    yield agent
    agent.close()


def test_the_daemon_stays_registered(agent: Agent) -> None:
    published: list[Any] = []
    config = SimpleNamespace(
        uuid='wazo',
        consul=SimpleNamespace(scheme='http', host='127.0.0.1', port=agent.port, token='secret', verify=True),
        service_discovery=SimpleNamespace(
            advertise_address='auto', advertise_address_interface='lo', advertise_port=9300,
            ttl_interval=30, refresh_interval=0.1, retry_interval=0.1, extra_tags=['extra'],
        ),
    )  # fmt: skip
    discovery = ServiceDiscovery(config, published.append)
    discovery.start()
    until(lambda: len(agent.calls) > 3)
    (service,) = agent.services.values()

    assert service['address'] == '127.0.0.1'
    assert service['check'] == {'ttl': '30s'}

    agent.services.clear()
    until(lambda: agent.services)
    discovery.stop()

    assert agent.services == {}
    assert [call[0] for call in agent.calls[-2:]] == [
        f'/v1/agent/check/deregister/service:{service["id"]}',
        f'/v1/agent/service/deregister/{service["id"]}',
    ]
    assert {call[1:3] for call in agent.calls} == {('token=secret', 'secret')}
    assert [event.name for event in published] == ['service_registered', 'service_registered', 'service_deregistered']


@pytest.mark.parametrize(
    ('settings', 'next_call'), [({'token': 'nyckel-☃'}, 27), ({'cert': '/no/such/file', 'scheme': 'https'}, 2)]
)
def test_odd_settings_of_consul_are_no_crash(agent: Agent, settings: dict[str, Any], next_call: int) -> None:
    config = from_tree(
        {'consul': {'port': agent.port, **settings}, 'service_discovery': {'advertise_address': '10.0.0.1'}}
    )
    discovery = ServiceDiscovery(config, lambda event: None)

    assert discovery.step() == next_call


def test_an_unknown_interface_still_gives_an_address() -> None:
    assert own_address('lo') == '127.0.0.1'
    assert own_address('no-such-interface').count('.') == 3
