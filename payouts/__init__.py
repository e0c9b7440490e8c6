"""What the deployables share: the domain, the services and the adapters of the payout worker."""
