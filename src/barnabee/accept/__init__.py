"""`barnabee accept`: the specification's five acceptance criteria, measured on a running system."""
