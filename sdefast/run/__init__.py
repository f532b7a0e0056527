"""What every family shares: options, what a step is, where it runs, what a result can do."""
