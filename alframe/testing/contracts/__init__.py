"""Contract tests of the ports: subclass one, give `make`, and it runs over your implementation."""
