"""Transformations of models: what is exact is tested to be, what is not is measured."""
