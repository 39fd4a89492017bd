"""From the network to a segmented volume: many floods in batches, box by box."""
