"""Updates of samples on GPUs."""
