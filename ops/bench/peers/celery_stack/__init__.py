"""Celery (prefork), requests, zeep, SQLAlchemy with psycopg; Flask under gunicorn for Results."""
