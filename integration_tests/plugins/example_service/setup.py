from setuptools import find_packages
from setuptools import setup

setup(
    name='example-service',
    version='1.0',
    packages=find_packages(),
    entry_points={
        'wazo_webhookd.services': [
            'example = example_service.plugin:Service',
        ]
    }
)
