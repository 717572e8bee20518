"""Kept for guests: where plugins import the subscription service from (architecture, 3)."""

from __future__ import annotations

from ...subscriptions.service import NoSuchSubscription, SubscriptionService, build_subscription_service

__all__ = ['NoSuchSubscription', 'SubscriptionService', 'build_subscription_service']
