//! Tests, in the words of the module above.
