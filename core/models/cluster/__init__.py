"""Assets clustered by the shape of their recent prices, and the weights of those that stray from their cluster.

The engine imports `score` and `bundle`, which are light; `model` and `fit` need torch: a process of its own.
"""
