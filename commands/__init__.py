"""The entry points: each module is one console script, a thin shell around the packages below."""

__all__: list[str] = []
