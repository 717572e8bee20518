"""Celery tasks of a guest: imported by every worker, started by its own REST room."""

from guests.notes import note
from wazo_webhookd.celery import app


@app.task(bind=True)
def add(task, config, left=0, right=0, fail=0):
    if task.request.retries < fail:
        note('task', retries=task.request.retries)
        raise task.retry(countdown=0.2)
    note('task', sum=left + right, config=config, retries=task.request.retries)
