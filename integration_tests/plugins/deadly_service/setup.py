from setuptools import find_packages, setup

setup(
    name='deadly-service',
    version='1.0',
    packages=find_packages(),
    entry_points={'wazo_webhookd.services': ['deadly = deadly_service.plugin:Service']},
)
