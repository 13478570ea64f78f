"""Questions: expressions, frames, the compiler to SQL, and the searches that are not SQL."""
