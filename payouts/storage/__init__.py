"""The books in PostgreSQL: payouts, their timeline, the outbox, workers, accounts and the pace.

SQLAlchemy, asyncpg and Alembic are known here only; their errors stop here too.
"""
