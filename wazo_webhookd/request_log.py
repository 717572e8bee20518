"""One line per request in the log, once it is answered, and never a token in it."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from flask import Flask, Response, g, request

from .exceptions import APIException

logger = logging.getLogger('wazo-webhookd')

LONGEST_TEXT: Final = 2000
TOKEN_IN_URL: Final = re.compile(r'((?:^|[?&])token=)[^&#\s]*', re.IGNORECASE)
LINE_ENDS: Final = str.maketrans(
    {'\n': '\\n', '\r': '\\r', '\x0b': ' ', '\x0c': ' ', '\x85': ' ', '\u2028': ' ', '\u2029': ' '}
)
BODIES_NOT_SHOWN: Final = ('/config',)


def log_requests(app: Flask) -> None:
    app.before_request(_before)
    app.after_request(_after)


def log_api_error(error: APIException) -> None:
    """The customer's slips are not our errors: they are told in the answer, and shortly here."""
    level = logging.WARNING if error.status_code >= 500 else logging.INFO
    details = {key: value for key, value in error.details.items() if key != 'invalid_token'}
    logger.log(level, '%s', _short(f'{error.message}: {_without_token(str(details))}'))


def _before() -> None:
    g.started = time.monotonic()
    if logger.isEnabledFor(logging.DEBUG) and _may_be_shown():
        logger.debug('request body: %s', _short(_without_token(request.get_data(as_text=True))))


def _after(response: Response) -> Response:
    if logger.isEnabledFor(logging.INFO):
        started = g.get('started')
        took = '' if started is None else f' in {time.monotonic() - started:.2f}s'
        url = _short(_without_token(_url(request.environ)))
        told = (request.remote_addr, took, request.method, url, response.status_code)
        response.call_on_close(lambda: logger.info('response to %s%s: %s %s %s', *told))  # nobody waits for the log
    if logger.isEnabledFor(logging.DEBUG) and _may_be_shown() and not response.is_streamed:
        logger.debug('response body: %s', _short(_without_token(response.get_data(as_text=True))))
    return response


def _url(environ: Mapping[str, Any]) -> str:
    """The URL as it was asked for; werkzeug's takes longer to build than many an answer."""
    query = environ.get('QUERY_STRING')
    host = environ.get('HTTP_HOST') or environ['SERVER_NAME']
    path = quote(environ.get('PATH_INFO', ''), safe="/%:@!$&'()*+,;=-._~", encoding='latin-1')
    return f'{environ["wsgi.url_scheme"]}://{host}{path}{"?" + query if query else ""}'


def _may_be_shown() -> bool:
    return not request.path.endswith(BODIES_NOT_SHOWN)


def _without_token(text: str) -> str:
    token = request.environ.get('HTTP_X_AUTH_TOKEN')
    if token and token in text:
        text = text.replace(token, '<hidden>')
    return TOKEN_IN_URL.sub(r'\1<hidden>', text) if 'oken=' in text.lower() else text


def _short(text: str) -> str:
    text = text if len(text) <= LONGEST_TEXT else f'{text[:LONGEST_TEXT]}… ({len(text)} characters)'
    return text.translate(LINE_ENDS)
