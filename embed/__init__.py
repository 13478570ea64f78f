"""A picture becomes rows: simulators of ground truth, and the built-in extractors."""

if __name__ != "micdb.embed":
    raise ImportError("This folder is installed as micdb.embed: import it by that name.")
