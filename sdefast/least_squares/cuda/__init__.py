"""SGD on least squares on GPUs."""
