"""Which structures go with which properties: formulas, models, honest scores, and fits to use again."""
