"""What the classifier tells apart, and which kind each is."""

from __future__ import annotations

#: No defect: a departure that noise made.
REGULAR = "regular"
#: Something that is none of the classes.
UNKNOWN = "unknown"
#: Kind of each class, in the order of the network's logits.
KINDS: dict[str, str] = {
    REGULAR: REGULAR,
    "vacancy": "vacancy",
    "divacancy": "divacancy",
    "vacancy-cluster": "vacancy-cluster",
    "Si1C3": "substitution",
    "Si1C4": "substitution",
    "Si2C4": "substitution",
    "Si2C5": "substitution",
    "Si2C6": "substitution",
    "Si3C6": "substitution",
    "stone-wales": "ring",
    "adatom": "adatom",
    "silicon-adatom": "adatom",
    "edge": "edge",
    "pore": "edge",
    "boundary": "boundary",
    "metal-vacancy": "vacancy",
    "chalcogen-vacancy": "vacancy",
    "chalcogen-divacancy": "divacancy",
    "metal-dopant": "substitution",
    "chalcogen-dopant": "substitution",
    "metal-antisite": "substitution",
    "chalcogen-adatom": "adatom",
    "metal-adatom": "adatom",
    "metal-interstitial": "interstitial",
    "twin-boundary": "boundary",
    "A-vacancy": "vacancy",
    "B-vacancy": "vacancy",
    "A-substitution": "substitution",
    "B-substitution": "substitution",
    "A-interstitial": "interstitial",
    UNKNOWN: UNKNOWN,
}
CLASSES = tuple(KINDS)
