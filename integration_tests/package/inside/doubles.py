"""Stand-ins for wazo-auth and for receivers; requests that arrive are appended to a file, one JSON object a line.

Run with Debian's Python: python3 -m integration_tests.package.inside.doubles FILE TOKEN
"""

from __future__ import annotations

import json
import sys
import time

from integration_tests.support.auth_double import AuthDouble
from integration_tests.support.receiver import Receiver

AUTH_PORT = 9497
RECEIVER_PORT = 8000


def main() -> None:
    path, token = sys.argv[1:]
    auth = AuthDouble()
    auth.port = AUTH_PORT
    auth.add_token(token=token)
    auth.start()
    receiver = Receiver(RECEIVER_PORT)
    receiver.start()
    written = 0
    with open(path, 'a', encoding='utf-8') as file:
        while True:
            for request in receiver.requests[written:]:
                written += 1
                line = {'path': request.path, 'id': request.delivery, 'body': request.text, 'headers': request.headers}
                print(json.dumps(line), file=file, flush=True)
            time.sleep(0.02)


if __name__ == '__main__':
    main()
