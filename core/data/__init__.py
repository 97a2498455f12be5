"""Market history: the Panel, files and the lake it comes from, what is wrong with them, and the synthetic market.
Under both wings. `panel` and `synthetic` need numpy alone; reading files and the lake (`source`) needs pyarrow."""
