"""Tests of the real daemon and workers with real PostgreSQL, RabbitMQ and HTTP."""
