"""What proposes the next recipe."""
