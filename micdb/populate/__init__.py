"""Run extractors over stored micrographs: contract, job table, workers, runs."""
