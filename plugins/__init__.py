"""The tricks that ship with tricksearch: one file each, discovered, never listed."""
