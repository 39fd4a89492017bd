"""Flood-filling networks: the network, its weights, seeds, movement and the flooding of one subvolume."""
