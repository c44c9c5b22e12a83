"""What several tricks share: quantization of graphs, and finding the parts of a net."""
