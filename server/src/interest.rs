//! Placeholder: interest.
