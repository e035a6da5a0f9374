"""Claims room: the arms that the paper's claims compare, and the comparison itself."""
