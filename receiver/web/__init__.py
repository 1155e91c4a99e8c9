"""What the service shows over HTTP besides taking webhooks."""
