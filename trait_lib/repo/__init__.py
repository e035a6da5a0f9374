"""What Make asks: is a run still right, its pages, its report, the committed results."""
