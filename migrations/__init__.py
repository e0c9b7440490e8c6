"""The steps of the database schema, run by `payouts db upgrade`."""
