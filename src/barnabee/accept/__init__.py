"""`barnabee accept`: the specification's five acceptance criteria, measured on a house that runs.

`criteria.py` says what a row is and when it passes (pure), `target.py` which house is asked,
`measures.py` measures, `run.py` runs all of it.
"""
