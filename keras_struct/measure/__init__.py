"""What is measured of a model: values, statistics, probes."""
