"""The schema (`*.proto`) and the Python code protoc generated from it (`python -m configs.generate`).

`google_ffn.proto` holds google/ffn's request messages, `reconstruction.proto` our own settings, `rules.proto`
the options by which a field declares its bounds. Neighbours use the loaded views of `configs` instead.
"""
