"""Stop being root: become the system user that the program runs as."""

from __future__ import annotations

import contextlib
import os
import pwd
from pathlib import Path

from wazo_webhookd.exceptions import WebhookdError


class UserError(WebhookdError):
    """The system user cannot be taken on."""


def become(name: str | None, log_file: str | None = None) -> None:
    """Run as this user from now on; empty or the present one: nothing to do.

    As root, a log file that does not exist yet is created for the user first. Raises UserError when
    there is no such user, or when the process may not change.
    """
    if not name:
        return
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise UserError(f'Unknown user {name}: create it, or set user in the configuration') from None
    if user.pw_uid == os.geteuid():
        return
    if os.geteuid() != 0:
        raise UserError(f'Cannot become user {name}: start as root or as {name}, or set user in the configuration')
    if log_file and not Path(log_file).exists():
        _give(Path(log_file), user)
    os.initgroups(name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ['HOME'] = user.pw_dir


def _give(path: Path, user: pwd.struct_passwd) -> None:
    with contextlib.suppress(OSError):  # whoever opens it says why it cannot be used
        path.touch(mode=0o640)
        os.chown(path, user.pw_uid, user.pw_gid)
