"""Tables, connections and the few statements that several rooms share.

Nothing is imported here: wazo-purge-db loads ``wazo_webhookd.database.purger`` under an older SQLAlchemy.
"""
