"""The network of one mesh: how its namespaces and links are called, which addresses it takes, how they come and go."""
