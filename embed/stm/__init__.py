"""Point defects on the terraces of scanning tunneling topographs: flattening, detection, description."""
