from wazo_webhookd.status import StatusAggregator


def test_providers_fill_in_their_components():
    aggregator = StatusAggregator()
    aggregator.add_provider(lambda status: status['one'].update(status='ok'))

    def two(status):
        status['two']['status'] = 'fail'
        status['two']['deep']['down'] = 1

    aggregator.add_provider(two)

    assert aggregator.status() == {'one': {'status': 'ok'}, 'two': {'status': 'fail', 'deep': {'down': 1}}}


def test_a_provider_that_fails_takes_nothing_from_the_others(caplog):
    aggregator = StatusAggregator()
    aggregator.add_provider(lambda status: status['bad']['status'].not_there())
    aggregator.add_provider(lambda status: status['odd'].update(value=object()))
    aggregator.add_provider(lambda status: status['good'].update(status='ok'))

    assert aggregator.status() == {'good': {'status': 'ok'}}
    assert 'A provider of the status failed' in caplog.text


def test_two_providers_may_speak_of_one_component():
    aggregator = StatusAggregator()
    aggregator.add_provider(lambda status: status['one'].update(status='ok'))
    aggregator.add_provider(lambda status: status['one'].update(more=1))

    assert aggregator.status() == {'one': {'status': 'ok', 'more': 1}}


def test_a_provider_added_twice_is_asked_once():
    asked = []

    def provider(status):
        asked.append(1)

    aggregator = StatusAggregator()
    aggregator.add_provider(provider)
    aggregator.add_provider(provider)
    aggregator.status()

    assert asked == [1]
