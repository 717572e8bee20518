from wazo_webhookd.auth.cache import ANSWERS_PER_TOKEN, TOKENS, TokenCache


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def remember(cache, token, question='check', answer=True, session_uuid=None):
    cache.put(token, question, answer, cache.mark(), session_uuid)


def test_an_answer_is_kept_for_the_seconds_configured():
    clock = Clock()
    cache = TokenCache(5, clock)
    remember(cache, 't')
    clock.now += 4.9
    assert cache.get('t', 'check') is True

    clock.now += 0.1
    assert cache.get('t', 'check') is None


def test_zero_seconds_keep_nothing():
    cache = TokenCache(0, Clock())
    remember(cache, 't')

    assert cache.get('t', 'check') is None


def test_answers_are_kept_apart_by_token_and_question():
    cache = TokenCache(5, Clock())
    remember(cache, 't', ('check', 'a.read', None))

    assert cache.get('t', ('check', 'a.read', 'tenant')) is None
    assert cache.get('t', ('check', 'b.read', None)) is None
    assert cache.get('u', ('check', 'a.read', None)) is None


def test_a_deleted_session_is_forgotten_at_once():
    cache = TokenCache(5, Clock())
    remember(cache, 't')
    remember(cache, 't', 'details', {}, session_uuid='s1')
    remember(cache, 'u', 'details', {'x': 1}, session_uuid='s2')
    cache.forget_session('s1')

    assert cache.get('t', 'check') is None
    assert cache.get('t', 'details') is None
    assert cache.get('u', 'details') == {'x': 1}


def test_a_token_of_unknown_session_is_forgotten_with_any_session():
    cache = TokenCache(5, Clock())
    remember(cache, 't')
    cache.forget_session('some session')

    assert cache.get('t', 'check') is None


def test_an_answer_on_its_way_during_a_deletion_is_not_kept():
    cache = TokenCache(5, Clock())
    mark = cache.mark()
    cache.forget_session('s1')
    cache.put('t', 'check', True, mark, 's1')

    assert cache.get('t', 'check') is None


def test_the_cache_is_bounded_and_forgets_the_oldest_first():
    cache = TokenCache(5, Clock())
    for number in range(TOKENS + 1):
        remember(cache, f't{number}')
    for number in range(ANSWERS_PER_TOKEN + 1):
        remember(cache, 'last', number)

    assert cache.get('t0', 'check') is None
    assert cache.get(f't{TOKENS}', 'check') is True
    assert cache.get('last', 0) is None
    assert cache.get('last', ANSWERS_PER_TOKEN) is True
