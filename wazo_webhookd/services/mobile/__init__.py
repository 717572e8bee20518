"""Push notifications to the mobile applications of users."""
