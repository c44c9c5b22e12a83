"""Scripts for those who work on tricksearch; nothing here is installed."""
