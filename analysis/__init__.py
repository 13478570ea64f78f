"""Tables become answers: links between structure and property, figures, reports."""

if __name__ != "micdb.analysis":
    raise ImportError("This folder is installed as micdb.analysis: import it by that name.")
