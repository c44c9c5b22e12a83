"""Pages and tables made from stored records."""
