"""Guests of every kind, for the tests of what plugin authors are promised."""

from setuptools import find_packages, setup

setup(
    name='guests-of-the-tests',
    version='1.0',
    packages=find_packages(),
    entry_points={
        'wazo_webhookd.services': [
            'by-class = guests.services:ByClass',
            'by-instance = guests.services:ByInstance',
            'by-task = guests.services:ByTask',
            'both-ways = guests.services:BothWays',
            'listener = guests.services:Listener',
            'broken = guests.services:Broken',
            'owner = guests.services:Owner',
        ],
        'wazo_webhookd.plugins': ['guest-room = guests.room:Plugin', 'broken-room = guests.room:Broken'],
        'wazo_webhookd.celery_tasks': ['guest-tasks = guests.tasks', 'broken-tasks = guests.nowhere'],
    },
)
