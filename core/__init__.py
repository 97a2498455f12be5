"""The engine and everything it stands on: data, features, models, strategies, execution, venues.

A room imports only rooms below it; `lint-imports` (run by the tests) holds that.
"""
