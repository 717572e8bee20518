"""Publish events on the bus as Wazo does; run with the package's Python: publish.py NAME COUNT PAUSE"""

from __future__ import annotations

import json
import sys
import time

import amqp


def main() -> None:
    name, count, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    connection = amqp.Connection('127.0.0.1:5672', 'guest', 'guest', confirm_publish=True)
    connection.connect()
    channel = connection.channel()
    for number in range(count):
        headers = {'name': name, 'origin_uuid': '08c56466-8f29-45c7-9856-92bf1ba89b92', 'tenant_uuid': None}
        body = json.dumps({'name': name, 'data': {'number': number}, 'origin_uuid': headers['origin_uuid']})
        message = amqp.Message(body, content_type='application/json', delivery_mode=2, application_headers=headers)
        channel.basic_publish(message, 'wazo-headers', '')
        time.sleep(pause)
    connection.close()


if __name__ == '__main__':
    main()
