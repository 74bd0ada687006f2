"""How good methods are on people they have not seen: splits, cross-validation, statistics, tables of a study."""
