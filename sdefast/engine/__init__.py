"""The engine: plans, tiles, executors and statistics. It knows no model."""
