"""The bare loop that everything is compared with: one process, one thread, one kept connection.

    python benchmarks/bare.py URL COUNT

posts COUNT events' bodies one after the other with ``requests.Session`` as it comes, and prints JSON:
``{"requests": N, "seconds": S, "per_second": R, "cpu_ms": C}`` (processor milliseconds per request).
"""

from __future__ import annotations

import json
import sys
import time

import requests

BODY = {'call_id': '1719345600.42', 'caller_id_number': '1001', 'caller_id_name': 'Alice', 'n': 0}


def run(url: str, count: int) -> dict[str, float]:
    with requests.Session() as session:
        session.post(url, json=BODY, timeout=10)  # connection and import costs are not what is compared
        started, processor = time.perf_counter(), time.process_time()
        for number in range(count):
            session.post(url, json=BODY | {'n': number}, timeout=10).content  # noqa: B018 (the body is read)
        seconds, processor = time.perf_counter() - started, time.process_time() - processor
    return {
        'requests': count,
        'seconds': round(seconds, 3),
        'per_second': round(count / seconds, 1),
        'cpu_ms': round(1000 * processor / count, 3),
    }


if __name__ == '__main__':
    print(json.dumps(run(sys.argv[1], int(sys.argv[2]))))
