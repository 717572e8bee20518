"""Every configuration key: its type, its default and what it means.

The reference page of the documentation is made from this catalogue. Attribute names are the keys of
the YAML files. Keys that are not listed here are kept for guests (see ``config.Config.tree``).
"""

from __future__ import annotations

import ipaddress
import logging
import re
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

MAX_SECONDS = 30 * 86400


def _not_a_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError('a number, not true or false')
    return value


def _boolean_or_path(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return {'true': True, 'false': False}.get(value.lower(), value)
    raise ValueError('true, false or the path of a CA bundle')


def _level(value: Any) -> Any:
    if isinstance(value, str) and value.upper() in LOG_LEVELS:
        return LOG_LEVELS[value.upper()]
    if value in LOG_LEVELS.values() and not isinstance(value, bool):
        return value
    raise ValueError('one of: critical, error, warning, info, debug')


def _network(value: Any) -> str:
    try:
        return str(ipaddress.ip_network(str(value), strict=False))
    except ValueError:
        raise ValueError('an address or a network such as 10.1.0.0/16') from None


def _slash_in_front(value: Any) -> Any:
    return '/' + value if isinstance(value, str) and value and not value.startswith('/') else value


def _database(value: Any) -> Any:
    """``postgresql://`` keeps meaning psycopg2, whatever SQLAlchemy takes it for."""
    if isinstance(value, str):
        if value.startswith('sqlite://'):
            return value
        match = re.fullmatch(r'(?:postgres|postgresql)(?:\+psycopg2)?://(.*)', value, re.DOTALL)
        if match and _is_database_url(uri := f'postgresql+psycopg2://{match[1]}'):
            return uri
    raise ValueError('a URI such as postgresql://user:password@host/database')


def _is_database_url(uri: str) -> bool:
    try:
        make_url(uri)
    except (ArgumentError, ValueError):
        return False
    return True


def _broker(value: Any) -> Any:
    """One URL, or several separated by semicolons, of which the first that answers is taken."""
    if isinstance(value, str) and value and all(map(_is_broker_url, value.split(';'))):
        return value
    raise ValueError('a URL such as amqp://user:password@host:5672/vhost')


def _is_broker_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in BROKERS and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def _proxy(value: Any) -> Any:
    if value is None or (isinstance(value, str) and re.fullmatch(r'http://[^\s/]+/?', value)):
        return value
    raise ValueError('null or a URL such as http://proxy.example.com:3128')


def _enabled(value: Any) -> Any:
    return False if value is None else value


BROKERS = ('amqp', 'amqps', 'pyamqp', 'memory')
LOG_LEVELS = {name: getattr(logging, name) for name in ('CRITICAL', 'ERROR', 'WARNING', 'INFO', 'DEBUG')}

Whole = Annotated[int, BeforeValidator(_not_a_boolean)]
Number = Annotated[float, BeforeValidator(_not_a_boolean), Field(allow_inf_nan=False)]
Port = Annotated[Whole, Field(ge=1, le=65535)]
Seconds = Annotated[Number, Field(gt=0, le=MAX_SECONDS)]
Wait = Annotated[Number, Field(ge=0, le=MAX_SECONDS)]
Name = Annotated[str, Field(min_length=1)]
Network = Annotated[str, BeforeValidator(_network)]
Certificates = Annotated[bool | str, BeforeValidator(_boolean_or_path)]
Switches = dict[str, Annotated[bool, BeforeValidator(_enabled)]]

ABSENT: dict[str, JsonValue] = {'absent': True}
"""Marks keys that are not there (rather than null) in the tree that guests see, unless configured."""


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra='ignore', coerce_numbers_to_str=True, validate_default=True)


class Auth(Section):
    """How to reach wazo-auth, and as whom."""

    host: Name = Field('localhost', description='Name or address of wazo-auth.')
    port: Port = Field(9497, description='Port of wazo-auth.')
    prefix: Annotated[str | None, BeforeValidator(_slash_in_front)] = Field(
        None, description='Prefix of its URLs, such as `/api/auth`; a missing leading `/` is added.'
    )
    https: bool = Field(False, description='Whether to use HTTPS.')
    key_file: str = Field(
        '/var/lib/wazo-auth-keys/wazo-webhookd-key.yml',
        description='Has `service_id` and `service_key`; read unless `username` and `password` are both set.',
    )
    username: str | None = Field(None, description='Name of the service account.', json_schema_extra=ABSENT)
    password: str | None = Field(
        None, description='Password of the service account.', json_schema_extra=ABSENT, repr=False
    )
    master_tenant_uuid: str | None = Field(
        None, description='The master tenant; learnt from the first service token unless set.', json_schema_extra=ABSENT
    )
    verify_certificate: Certificates = Field(
        True, description='`true`, `false`, or the path of a CA bundle.', json_schema_extra=ABSENT
    )
    timeout: Seconds = Field(10, description='Seconds to wait for wazo-auth.', json_schema_extra=ABSENT)
    version: str = Field('0.1', description='Version of its API.', json_schema_extra=ABSENT)
    cache_seconds: Wait = Field(5, description='How long the check of a token is remembered; 0: not at all.')


class BusQueue(Section):
    """The durable queue in which events wait for the daemon."""

    name: Name = Field('wazo_webhookd.events', description='Name of the queue; daemons that share a database share it.')
    max_age: Annotated[Whole, Field(ge=1, le=365 * 86400)] = Field(
        604800, description='Seconds that an event may wait while no daemon runs.'
    )
    max_length: Annotated[Whole, Field(ge=1)] = Field(
        1_000_000, description='Events that may wait; the oldest are dropped beyond it.'
    )
    prefetch: Annotated[Whole, Field(ge=1, le=65535)] = Field(
        500, description='Events that the broker hands over before it waits for an acknowledgement.'
    )


class Bus(Section):
    """The Wazo event bus (RabbitMQ)."""

    username: str = Field('guest', description='Name for RabbitMQ.')
    password: str = Field('guest', description='Password for RabbitMQ.', repr=False)
    host: Name = Field('localhost', description='Name or address of RabbitMQ.')
    port: Port = Field(5672, description='Port of RabbitMQ.')
    vhost: Name = Field('/', description='Virtual host of RabbitMQ.')
    exchange_name: Name = Field('wazo-headers', description='Exchange on which the events of Wazo are published.')
    exchange_type: Literal['headers', 'topic', 'fanout', 'direct'] = Field('headers', description='Its type.')
    queue: BusQueue = BusQueue()
    max_event_bytes: Annotated[Whole, Field(ge=1024)] = Field(
        1_048_576, description='Larger events are counted as dropped, logged once with their size, and acknowledged.'
    )

    @property
    def url(self) -> str:
        """The AMQP URL, credentials included: never log it."""
        user, password, vhost = (quote(text, safe='') for text in (self.username, self.password, self.vhost))
        host = f'[{self.host}]' if ':' in self.host else self.host
        return f'amqp://{user}:{password}@{host}:{self.port}/{vhost}'


class Celery(Section):
    """The workers that deliver, and the broker between them and the daemon."""

    broker: Annotated[str, BeforeValidator(_broker)] = Field(
        'amqp://guest:guest@localhost:5672',
        description='URL of the task broker (a setting apart from `bus`).',
        repr=False,
    )
    exchange_name: Name = Field('celery-webhookd', description='Exchange of the tasks.')
    queue_name: Name = Field('celery-webhookd', description='Queue of the tasks.')
    worker_pid_file: str | None = Field(
        '/run/wazo-webhookd/celery-worker.pid',
        description="File with the process number of the daemon's own worker of pool `prefork`.",
    )
    worker_min: Annotated[Whole, Field(ge=0)] = Field(3, description='Least number of processes of pool `prefork`.')
    worker_max: Annotated[Whole, Field(ge=1)] = Field(5, description='Largest number of processes of pool `prefork`.')
    pool: Literal['threads', 'prefork'] = Field(
        'threads', description='How a worker works: many threads in few processes, or one delivery per process.'
    )
    processes: Annotated[Whole, Field(ge=0, le=256)] = Field(
        0, description="The daemon's own worker processes (pool `threads`); 0: one per core, at most 4."
    )
    hands: Annotated[Whole, Field(ge=1, le=1024)] = Field(
        128, description='Threads of a worker process (pool `threads`).'
    )
    start_workers: bool = Field(
        True,
        description='Whether the daemon starts workers of its own; `false` where wazo-webhookd-worker runs elsewhere.',
    )


class Cors(Section):
    """Cross-origin requests; further keys (`origins`, `max_age` …) are handed to Flask-CORS."""

    model_config = ConfigDict(extra='allow')

    enabled: bool = Field(True, description='Whether answers carry CORS headers.')
    allow_headers: tuple[str, ...] = Field(
        ('Content-Type', 'X-Auth-Token', 'Wazo-Tenant'), description='Headers that browsers may send.'
    )

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments for Flask-CORS."""
        return {'allow_headers': list(self.allow_headers), **(self.__pydantic_extra__ or {})}


class RestApi(Section):
    """The REST API."""

    listen: Name = Field('127.0.0.1', description='Address to listen on.')
    port: Annotated[Whole, Field(ge=0, le=65535)] = Field(9300, description='Port to listen on; 0: any that is free.')
    certificate: str | None = Field(None, description='Certificate file; deprecated, let nginx do TLS.')
    private_key: str | None = Field(None, description='Private key file; deprecated, let nginx do TLS.')
    max_threads: Annotated[Whole, Field(ge=1, le=1024)] = Field(
        10, description='Threads that answer requests, and the size of the database connection pool.'
    )
    cors: Cors = Cors()


class Consul(Section):
    """Where Consul is; further keys (`host`, `token`, `verify` …) are handed to its client."""

    model_config = ConfigDict(extra='allow')

    scheme: Literal['http', 'https'] = Field('http', description='`http` or `https`.')
    port: Port = Field(8500, description='Port of Consul.')
    host: Name = Field('127.0.0.1', description='Name or address of Consul.', json_schema_extra=ABSENT)
    token: str | None = Field(None, description='Token for registering.', json_schema_extra=ABSENT, repr=False)
    verify: Certificates = Field(
        True, description='`true`, `false`, or the path of a CA bundle.', json_schema_extra=ABSENT
    )


class ServiceDiscovery(Section):
    """Registration with Consul."""

    enabled: bool = Field(False, description='Whether to register.')
    advertise_address: Name = Field('auto', description='Address to register; `auto`: that of the interface below.')
    advertise_address_interface: Name = Field(
        'eth0', description='Network interface whose address is taken for `auto`.'
    )
    advertise_port: Port = Field(9300, description='Port to register.')
    ttl_interval: Seconds = Field(30, description='Seconds after which Consul counts a silent service as failed.')
    refresh_interval: Seconds = Field(27, description='Seconds between heartbeats.')
    retry_interval: Seconds = Field(2, description='Seconds before a failed call is tried again.')
    extra_tags: tuple[str, ...] = Field((), description='Tags beside the uuid and the name of the service.')


class Database(Section):
    """Connections to the database."""

    pool_size: Annotated[Whole, Field(ge=1, le=1024)] | None = Field(
        None, description='Connections kept by the daemon; null: as many as `rest_api.max_threads`.'
    )


class EgressRole(Section):
    """Networks that deliveries may or may not reach."""

    allow: tuple[Network, ...] = Field((), description='Networks opened although they are shut by default.')
    deny: tuple[Network, ...] = Field((), description='Networks shut, whatever else allows them.')


class Egress(Section):
    """Where deliveries may connect to, and how long they may take."""

    user: EgressRole = Field(EgressRole(), description='For subscriptions owned by a user.')
    admin: EgressRole = Field(EgressRole(), description="For administrators' subscriptions.")
    proxy: Annotated[str | None, BeforeValidator(_proxy)] = Field(
        None, description='The only proxy used; those of the environment are ignored.', repr=False
    )
    connect_timeout: Seconds = Field(5, description='Seconds to connect, within the deadline.')
    deadline: Seconds = Field(15, description='Seconds for a whole attempt; a subscription may set its own `timeout`.')
    max_response_bytes: Annotated[Whole, Field(ge=0, le=16 * 1024 * 1024)] = Field(
        16384, description='Bytes of an answer that are read and kept.'
    )


class Circuit(Section):
    """When an endpoint in trouble is left alone."""

    open_after: Annotated[Whole, Field(ge=1)] = Field(5, description='Failures in a row after which it rests.')
    rest: Seconds = Field(30, description='Seconds of the first rest; each further one is twice as long.')
    rest_max: Seconds = Field(3600, description='Seconds of the longest rest.')
    disable_after_days: Annotated[Number, Field(ge=0)] = Field(
        5, description='Days of nothing but failures after which a subscription is disabled; 0: never.'
    )


class Service(Section):
    """Settings of one delivery service."""

    model_config = ConfigDict(extra='allow')

    timeout: Seconds = Field(300, description='Seconds after which an attempt that has not returned is given up.')


class Retention(Section):
    """How long finished things are kept."""

    journal_days: Annotated[Number, Field(gt=0, le=36500)] = Field(30, description='Days that events are kept.')
    deliveries_days: Annotated[Number, Field(gt=0, le=36500)] = Field(
        30, description='Days that deliveries are kept, and the longest time that one may wait.'
    )
    logs_days: Annotated[Number, Field(gt=0, le=36500)] = Field(30, description='Days that attempts are kept.')


class Settings(Section):
    """The whole configuration."""

    config_file: str = Field('/etc/wazo-webhookd/config.yml', description='Main file; set by `-c` only.')
    extra_config_files: str = Field(
        '/etc/wazo-webhookd/conf.d',
        description='Directory of overrides (`*.yml`); of two files the alphabetically first wins.',
    )
    debug: bool = Field(False, description='Log everything, whatever `log_level` says.')
    log_level: Annotated[int, BeforeValidator(_level)] = Field(
        logging.INFO, description='One of critical, error, warning, info, debug.'
    )
    log_file: str | None = Field(
        '/var/log/wazo-webhookd.log', description='Log file, beside standard output and error.'
    )
    user: str | None = Field('wazo-webhookd', description='System user to become; empty: stay who started it.')
    uuid: str = Field(
        '', description='Uuid of the Wazo server; the environment variable `XIVO_UUID` wins.', json_schema_extra=ABSENT
    )
    process_title: Name = Field('wazo-webhookd', description='Name of the processes as `ps` shows them.')
    shutdown_grace: Annotated[Number, Field(ge=0, le=3600)] = Field(
        20, description='Seconds that attempts under way get to finish when the program is stopped.'
    )
    db_uri: Annotated[str, BeforeValidator(_database)] = Field(
        'postgresql://asterisk:proformatique@localhost/asterisk?application_name=wazo-webhookd',
        description='URI of the database.',
        repr=False,
    )
    database: Database = Database()
    auth: Auth = Auth()
    bus: Bus = Bus()
    celery: Celery = Celery()
    rest_api: RestApi = RestApi()
    consul: Consul = Consul()
    service_discovery: ServiceDiscovery = ServiceDiscovery()
    enabled_plugins: Switches = Field(
        dict.fromkeys(
            ('api', 'config', 'mobile', 'services', 'status', 'subscriptions', 'events', 'deliveries', 'egress'), True
        ),
        description='REST plugins to load, in this order.',
    )
    enabled_services: Switches = Field({'http': True, 'mobile': True}, description='Delivery services to load.')
    enabled_celery_tasks: Switches = Field(
        {'subscription': True, 'mobile': True}, description='Modules of Celery tasks to load in workers.'
    )
    services: dict[str, Service] = Field({}, description='Settings per delivery service, by its name.')
    hook_retry_schedule: Annotated[tuple[Wait, ...], Field(min_length=1, max_length=100)] = Field(
        (0, 5, 30, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400),
        description='Seconds waited before attempts 1, 2, 3 …; its length is the number of attempts.',
    )
    hook_retry_jitter: Annotated[Number, Field(ge=0, le=1)] = Field(
        0.2, description='Share of each wait by which it is made longer or shorter at random.'
    )
    hook_max_attempts: Annotated[Whole, Field(ge=1, le=1000)] | None = Field(
        None, description='Attempts in all; when set, waits double (see the next key) and the schedule is not used.'
    )
    hook_http_retry_countdown_factor: Annotated[Number, Field(ge=0, le=1000)] | None = Field(
        None,
        description='The wait after attempt n is this number to the power of n-1; when set, the schedule is not used.',
    )
    egress: Egress = Egress()
    circuit: Circuit = Circuit()
    retention: Retention = Retention()
    mobile_apns_host: Name = Field('api.push.apple.com', description="Host of Apple's push service.")
    mobile_apns_port: Port = Field(443, description="Port of Apple's push service.")
    mobile_apns_call_topic: str = Field('org.wazo-platform.voip', description='Topic of notifications of calls.')
    mobile_apns_default_topic: str = Field('org.wazo-platform', description='Topic of all other notifications.')
    mobile_fcm_notification_end_point: str = Field(
        'https://fcm.googleapis.com/v1/projects/{project_id}/messages:send',
        description="URL of Google's push service.",
    )
