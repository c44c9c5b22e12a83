"""The phases of a study: screen, search, ablate, confirm; what each of them runs, and what follows from it."""
