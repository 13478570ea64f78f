"""Simulators of ground truth: an image comes with the exact positions or masks it was made from.

Pure numpy and scipy. Every function takes a seed and gives the same image for it, bit for bit. What is
drawn lies in nanometres; the pixel size only decides how it is sampled.
"""
