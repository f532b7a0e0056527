"""Experiments on SGD.

- ``presets``: those behind the thesis' figures;
- ``comparison``: SGD beside the equations that model it;
- ``weak_errors``: how far these are from it, over step sizes, and the orders that they show;
- ``figures``: what is drawn of all this.
"""
