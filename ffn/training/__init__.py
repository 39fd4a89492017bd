"""Training of flood-filling networks: partitions, examples, augmentation, the trainer and its config."""

__all__: list[str] = []
