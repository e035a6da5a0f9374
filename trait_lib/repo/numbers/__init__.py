"""Every number in README and the notebooks' text comes from a file, or says where it is from."""
