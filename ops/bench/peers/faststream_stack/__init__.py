"""FastStream, aiohttp and SQLAlchemy async, one transaction per step, on uvloop."""
