"""What is heavy is imported when it is used, not when the program starts."""

import subprocess
import sys


def test_push_libraries_are_not_imported_before_the_first_push():
    program = (
        'import sys; import wazo_webhookd.services.mobile.plugin, wazo_webhookd.plugins.mobile.plugin;'
        "print([name for name in ('httpx', 'h2', 'google.auth', 'cryptography') if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, check=True).stdout

    assert output.strip() == '[]'
