"""A file becomes Scans: readers, sniffing, sidecar sheets, and the pipeline into store and catalog."""

if __name__ != "micdb.ingest":
    raise ImportError("This folder is installed as micdb.ingest: import it by that name.")
