"""What a cluster's nodes get from the driver's machine, and bring to it."""
