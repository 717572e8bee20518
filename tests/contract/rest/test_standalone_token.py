import stat

from wazo_webhookd.auth.static import admin_token


def test_the_token_is_generated_once_and_only_for_its_owner(tmp_path):
    token = admin_token(tmp_path)

    assert len(token) >= 32
    assert admin_token(tmp_path) == token
    assert stat.S_IMODE((tmp_path / 'token').stat().st_mode) == 0o600
