"""What is on disk: HDF5 micrographs, Parquet parts, and the primitives that make a write durable."""
