"""Market history: the Panel, its import and manifests, and the synthetic market. Under both wings.

`panel` needs numpy alone; only `tables`, `importer` and `manifest` touch pyarrow.
"""
