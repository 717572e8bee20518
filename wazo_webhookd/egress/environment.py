"""What the environment says about HTTP calls, which we ignore and say so once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

IGNORED_VARIABLES: Final = (
    'HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'NO_PROXY', 'REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE',
    'SSL_CERT_FILE', 'SSL_CERT_DIR', 'NETRC',
)  # fmt: skip


def ignored_environment(environ: Mapping[str, str], home_has: Callable[[str], bool] | None = None) -> list[str]:
    """What in the environment other programs would use for calls, and we do not."""
    found = [name for name in environ if name.upper() in IGNORED_VARIABLES and environ[name]]
    has = home_has or (lambda name: (Path.home() / name).exists())
    return sorted(found) + (['~/.netrc'] if has('.netrc') else [])


def warn_of_environment(environ: Mapping[str, str]) -> None:
    """One warning at start that names what is ignored."""
    names = ignored_environment(environ)
    if names:
        logger.warning(
            'ignored for deliveries (set egress.proxy instead where a proxy is needed): %s', ', '.join(names)
        )
