"""Plain words of the project: measures, records, recipes, settings, goals. No torch."""
