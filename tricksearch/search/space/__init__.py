"""The space of recipes that a study searches."""
