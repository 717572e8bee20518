from __future__ import annotations

from typing import Any

import pytest

from wazo_webhookd.services.example import plugin
from wazo_webhookd.services.helpers import HookExpectedError


@pytest.mark.parametrize(
    ('config', 'seconds'),
    [
        ({'sleep_time': 2}, 2.0),
        ({'time_sleep': 10}, 10.0),
        ({'sleep_time': '1.5'}, 1.5),
        ({'sleep_time': 1, 'time_sleep': 9}, 1.0),
        ({'sleep_time': 10**9}, 30.0),
        ({'sleep_time': -1}, 0.0),
        ({'sleep_time': 'nan'}, 0.0),
    ],
)
def test_seconds_are_bounded(config: dict[str, Any], seconds: float) -> None:
    assert plugin.sleep_seconds(config) == seconds


@pytest.mark.parametrize(('config', 'word'), [({}, 'missing key'), ({'sleep_time': 'soon'}, 'not a number')])
def test_subscription_that_does_not_say_how_long_is_an_error(config: dict[str, Any], word: str) -> None:
    with pytest.raises(HookExpectedError) as caught:
        plugin.sleep_seconds(config)

    assert word in caught.value.detail['error']


def test_it_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(plugin.time, 'sleep', slept.append)

    assert plugin.Service.run(None, {}, {'config': {'sleep_time': 3}}, {}) == {'slept': 3.0}
    assert slept == [3.0]
