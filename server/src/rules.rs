//! Placeholder: rules.
