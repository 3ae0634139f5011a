"""Arrays, pytrees and transforms: no data set, no field, no model."""
