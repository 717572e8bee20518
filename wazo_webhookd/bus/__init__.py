"""The Wazo event bus. Guests import the two names below."""

from .consumer import BusConsumer
from .publisher import BusPublisher

__all__ = ['BusConsumer', 'BusPublisher']
