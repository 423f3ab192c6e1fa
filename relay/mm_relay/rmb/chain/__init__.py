"""The face of a chain: what clients of RMB ask a node of ThreeFold's chain, answered from the registry of twins."""
