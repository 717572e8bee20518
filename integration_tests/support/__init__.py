"""What the integration tests stand on: servers, processes, a small wazo-auth, a receiver, the bus."""
