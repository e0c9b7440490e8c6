"""The wire to the M-PESA gateway: SOAP messages made and read, HTTP and TLS, nothing else."""
