"""Tell other systems when something happens on a Wazo server."""

__version__ = '27.0.0'
