"""Contracts for authors of plug-ins: inherit one test class and the reader or extractor is proven."""
