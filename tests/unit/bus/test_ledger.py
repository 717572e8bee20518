from hypothesis import given
from hypothesis import strategies as st

from wazo_webhookd.bus.ledger import Ack, Ledger


def ledger_of(*tags):
    ledger = Ledger()
    for tag in tags:
        ledger.add(tag)
    return ledger


def test_a_finished_beginning_is_acknowledged_in_one_go():
    ledger = ledger_of(1, 2, 3, 4)
    for tag in (2, 1, 3):
        ledger.done(tag)

    assert ledger.acks() == [Ack(3, True)]
    assert ledger.acks() == []
    assert len(ledger) == 1


def test_one_that_is_held_up_does_not_hold_up_others():
    ledger = ledger_of(1, 2, 3)
    ledger.done(2)
    ledger.done(3)

    assert ledger.acks() == [Ack(2, False), Ack(3, False)]

    ledger.done(1)

    assert ledger.acks() == [Ack(1, True)]


def test_acknowledging_the_beginning_never_takes_in_a_failed_one():
    ledger = ledger_of(1, 2, 3)
    ledger.done(1)
    ledger.failed(2)
    ledger.done(3)

    assert ledger.acks() == [Ack(1, True), Ack(3, False)]
    assert ledger.returns() == [2]
    assert ledger.returns() == []


def test_unknown_tags_are_ignored():
    ledger = ledger_of(1)
    ledger.done(7)
    ledger.failed(8)

    assert ledger.acks() == []
    assert ledger.returns() == []


@given(st.lists(st.sampled_from(['add', 'done', 'failed', 'acks', 'returns']), max_size=60), st.randoms())
def test_each_message_is_answered_exactly_once(steps, random):
    ledger, open_tags, done, failed, acked, returned, last = Ledger(), [], set(), set(), set(), set(), 0
    answered = set()
    for step in [*steps, 'acks', 'returns']:
        if step == 'add':
            last += 1
            ledger.add(last)
            open_tags.append(last)
        elif step in ('done', 'failed') and open_tags:
            tag = open_tags.pop(random.randrange(len(open_tags)))
            getattr(ledger, step)(tag)
            (done if step == 'done' else failed).add(tag)
        elif step == 'acks':
            for ack in ledger.acks():
                meant = {t for t in range(1, ack.tag + 1) if t not in answered} if ack.multiple else {ack.tag}
                assert not meant & answered
                answered |= meant
                acked |= meant
        elif step == 'returns':
            for tag in ledger.returns():
                assert tag not in answered
                answered.add(tag)
                returned.add(tag)

    assert acked == done
    assert returned == failed
