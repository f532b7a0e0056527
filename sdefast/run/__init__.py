"""What every family shares: where a run runs."""
