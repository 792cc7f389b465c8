//! Placeholder: bounded Reader and Writer, DecodeError.
