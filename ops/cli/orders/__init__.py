"""Orders of operators: each is guarded by the database, and each stands in the audit."""
