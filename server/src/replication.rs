//! Placeholder: replication.
