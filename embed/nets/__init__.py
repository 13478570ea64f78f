"""Architectures of networks, and where their weights come from. Needs torch, imported on first use."""
