//! Placeholder: the sans-I/O client machine.
