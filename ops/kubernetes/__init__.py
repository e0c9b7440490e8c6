"""Manifests for Kubernetes, and the schemas that the test suite holds them to."""
