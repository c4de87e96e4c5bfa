//! Settings: one row a key, parsing, precedence, validation, and their effective values.
