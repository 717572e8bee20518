#!/usr/bin/env python3
"""Packaging: what is installed, and the entry points by which Wazo and guests find our parts."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent


class BuildWithMigrations(build_py):
    """Ship the Alembic files inside the package too: an installed program brings its schema up to date by itself."""

    def run(self):
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, 'wazo_webhookd', 'database', 'migrations')
            shutil.copytree(HERE / 'alembic', target, dirs_exist_ok=True, ignore=shutil.ignore_patterns('__pycache__'))


setup(
    name='wazo-webhookd',
    version=re.search(r"__version__ = '(.+)'", (HERE / 'wazo_webhookd' / '__init__.py').read_text())[1],
    description='Tell other systems when something happens on a Wazo server',
    long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='GPL-3.0-or-later',
    python_requires='>=3.11',
    packages=find_packages(include=['wazo_webhookd', 'wazo_webhookd.*']),
    package_data={'wazo_webhookd': ['py.typed', '**/*.yml', '**/*.html', '**/*.css', '**/*.js']},
    cmdclass={'build_py': BuildWithMigrations},
    install_requires=[
        'alembic>=1.13,<2',
        'amqp>=5.2,<6',
        'billiard>=4.2,<5',
        'celery>=5.4,<6',
        'certifi',
        'cheroot>=10,<12',
        'flask>=3.0,<4',
        'flask-cors>=4.0,<7',
        'flask-restful>=0.3.10,<0.4',
        'flask-swagger-ui>=5.20,<6',
        'google-auth>=2.20,<3',
        'httpx[http2]>=0.27,<1',
        'jinja2>=3.1,<4',
        'kombu>=5.4,<6',
        'marshmallow>=4.0,<5',
        'psycopg2-binary>=2.9.5,<3',
        'pydantic>=2.7,<3',
        'pyyaml>=6.0,<7',
        'requests>=2.31,<3',
        'setproctitle>=1.3,<2',
        'sqlalchemy>=2.0,<3',
        'stevedore>=5.0,<6',
        'urllib3>=2.0,<3',
    ],
    entry_points={
        'console_scripts': [
            'wazo-webhookd = wazo_webhookd.bin.daemon:main',
            'wazo-webhookd-worker = wazo_webhookd.bin.worker:main',
            'wazo-webhookd-init-db = wazo_webhookd.bin.init_db:main',
            'wazo-webhookd-init-amqp = wazo_webhookd.bin.init_amqp:main',
            'wazo-webhookd-sync-db = wazo_webhookd.bin.sync_db:main',
            'wazo-webhookd-demo = wazo_webhookd.bin.demo:main',
        ],
        'wazo_webhookd.plugins': [
            'api = wazo_webhookd.plugins.api.plugin:Plugin',
            'config = wazo_webhookd.plugins.config.plugin:Plugin',
            'deliveries = wazo_webhookd.plugins.deliveries.plugin:Plugin',
            'egress = wazo_webhookd.plugins.egress.plugin:Plugin',
            'events = wazo_webhookd.plugins.events.plugin:Plugin',
            'mobile = wazo_webhookd.plugins.mobile.plugin:Plugin',
            'services = wazo_webhookd.plugins.services.plugin:Plugin',
            'status = wazo_webhookd.plugins.status.plugin:Plugin',
            'subscriptions = wazo_webhookd.plugins.subscription.plugin:Plugin',
        ],
        'wazo_webhookd.services': [
            'example = wazo_webhookd.services.example.plugin:Service',
            'http = wazo_webhookd.services.http.plugin:Service',
            'mobile = wazo_webhookd.services.mobile.plugin:Service',
        ],
        'wazo_webhookd.celery_tasks': [
            'mobile = wazo_webhookd.plugins.mobile.celery_tasks',
            'subscription = wazo_webhookd.plugins.subscription.celery_tasks',
        ],
        'wazo_purge_db.purgers': [
            'webhookd-logs = wazo_webhookd.database.purger:SubscriptionLogsPurger',
        ],
    },
    classifiers=[
        'Environment :: No Input/Output (Daemon)',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3 :: Only',
        'Topic :: Communications :: Telephony',
    ],
)
