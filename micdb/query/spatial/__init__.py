"""Who lies near whom: distances, neighbours and rings of what runs found in images."""
