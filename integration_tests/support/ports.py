"""Ports on this machine."""

from __future__ import annotations

import socket


def free_port() -> int:
    """A port of the loopback interface that nobody uses now."""
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return int(listener.getsockname()[1])


def answers(port: int, host: str = '127.0.0.1') -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex((host, port)) == 0
