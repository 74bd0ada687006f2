"""How good methods are on subjects they have not seen: splits, cross-validation, statistics, tables of a study."""
