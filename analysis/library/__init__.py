"""The defect library: what is known of each motif, from every lab, with its counts led back to pixels."""
