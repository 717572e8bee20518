"""Ports on this machine."""

from __future__ import annotations

import random
import socket
from pathlib import Path


def free_port() -> int:
    """A port of the loopback interface that nobody uses now, and that no outgoing connection will be given:
    servers that a test stops and starts again find it free."""
    while True:
        port = random.randrange(10_000, _lowest_of_outgoing())
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(('127.0.0.1', port))
            except OSError:
                continue
            return port


def _lowest_of_outgoing() -> int:
    try:
        return max(int(Path('/proc/sys/net/ipv4/ip_local_port_range').read_text().split()[0]), 12_000)
    except OSError:
        return 32_768


def answers(port: int, host: str = '127.0.0.1') -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex((host, port)) == 0
