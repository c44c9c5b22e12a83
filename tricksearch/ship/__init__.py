"""A record's model as a folder that runs without tricksearch."""
